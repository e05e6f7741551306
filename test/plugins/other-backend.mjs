// The reference plugin by another name: a second vendor's, for labs whose hosts differ.
import backend from '@netaccel/dummy-accel-backend';

export default { ...backend, name: './plugins/other-backend.mjs', frontend: './plugins/other-frontend.mjs' };
