// The reference plugin by another name: a second vendor's, for labs whose hosts differ.
import { fileURLToPath } from 'node:url';
import backend from '@netaccel/dummy-accel-backend';

/** @param {string} name */
const half = (name) => fileURLToPath(new URL(name, import.meta.url));

export default { ...backend, name: half('other-backend.mjs'), frontend: half('other-frontend.mjs') };
