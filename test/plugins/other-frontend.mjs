// The frontend half that other-backend.mjs names.
import { fileURLToPath } from 'node:url';
import frontend from '@netaccel/dummy-accel-frontend';

export default { ...frontend, name: fileURLToPath(import.meta.url) };
