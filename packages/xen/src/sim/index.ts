/**
 * A Xen host in memory: shared memory, grant tables, event channels, store and clock, either stepped in one
 * thread by a seeded scheduler, or with a worker thread for each domain.
 *
 * @packageDocumentation
 */
export { Audit } from './audit.js';
export type { Access } from './audit.js';
export type { DomainContext } from './context.js';
export { SimDomain } from './domain.js';
export type { CountedLoop, DomainOptions, DomainParts } from './domain.js';
export type { EventChannelForm, EventDelivery } from './event-delivery.js';
export { SimEventChannel, SimEvents } from './events.js';
export type { Faults } from './faults.js';
export { FifoDelivery } from './fifo.js';
export * from './fifo-layout.js';
export { SimForeign } from './foreign.js';
export type { AccessObserver } from './foreign.js';
export { GrantTables } from './grant-tables.js';
export { SimGrants } from './grants.js';
export type { EndingGrant } from './grants.js';
export { Lab } from './lab.js';
export type { Holdings } from './lab.js';
export type { LogLine } from './log.js';
export { SimMachine, TASK_BUDGET } from './machine.js';
export type { SimMachineOptions } from './machine.js';
export { SharedMemory } from './memory.js';
export type { MemoryHandle } from './memory.js';
export { SimPages } from './pages.js';
export * from './plan.js';
export { PortTables } from './port-tables.js';
export { Random } from './random.js';
export type { DeviceResolver, RegisterHandler } from './registers.js';
export { Scheduler } from './scheduler.js';
export type { Job, JobKind, JobOwner } from './scheduler.js';
export { SeededFaults, faultNames } from './seeded-faults.js';
export type { FaultRates } from './seeded-faults.js';
export { SimLab } from './sim-lab.js';
export type { SimLabOptions } from './sim-lab.js';
export { TwoLevelDelivery } from './two-level.js';
