import type { RolloutRecord } from '../../../../hub/registry/rollout/rollouts.ts'

/** In its first wave of two, unless something else is said. */
export const makeRollout = (p: Partial<RolloutRecord> = {}): RolloutRecord => ({
  id: 'r1',
  to: 'b',
  scope: { kind: 'all' },
  waves: '50%,100%',
  halt: 'never',
  soakMs: 600_000,
  awayMs: 60_000,
  salt: 's',
  upTo: [0.5, 1],
  state: 'running',
  wave: 0,
  soakedMs: 0,
  reason: '',
  startedMs: 1,
  endedMs: null,
  by: 'hub',
  before: [{ scope: { kind: 'all' }, revision: 'a' }],
  sequence: 0,
  ...p,
})
