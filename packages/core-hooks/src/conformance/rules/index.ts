/** Every rule, those that others need before them. */
import type { Rule } from '../rule.js';
import { carryRules } from './carry.js';
import { deviceRules } from './device.js';
import { faultRules } from './faults.js';
import { interruptRules } from './interrupts.js';
import { ledgerRules } from './ledger.js';
import { lifeRules } from './life.js';
import { mailboxRules } from './mailbox.js';
import { offloadRules } from './offload.js';
import { orderRules } from './order.js';
import { policyRules } from './policy.js';
import { receiveRules } from './receive.js';
import { roomRules } from './room.js';
import { steeringRules } from './steering.js';
import { transmitRules } from './transmit.js';

/** The rules. */
export const rules: readonly Rule[] = [
  ...lifeRules.slice(0, 2),
  ...transmitRules,
  ...roomRules,
  ...carryRules,
  ...offloadRules,
  ...receiveRules,
  ...steeringRules,
  ...orderRules,
  ...interruptRules,
  ...deviceRules.slice(0, 3),
  ...faultRules,
  ...policyRules,
  ...ledgerRules,
  ...lifeRules.slice(2),
  ...deviceRules.slice(3),
  ...mailboxRules,
];
