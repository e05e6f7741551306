// The frontend half that other-backend.mjs names.
import frontend from '@netaccel/dummy-accel-frontend';

export default { ...frontend, name: './plugins/other-frontend.mjs' };
