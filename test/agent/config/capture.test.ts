import { test } from 'node:test'
import assert from 'node:assert/strict'
import { findCaptureProblem } from '../../../agent/config/capture.ts'
import type { Address } from '../../../core/os/network.ts'
import type { Listener } from '../../../model/listener.ts'

const passed = (...ports: readonly number[]): { has(at: Address): boolean } => ({
  has: (at) => at.host === '0.0.0.0' && ports.includes(at.port),
})
const pushed = (port: number, over: Partial<Listener> = {}): Listener =>
  ({ name: `l${port}`, address: '0.0.0.0', port, bindToPort: true, transparent: true, ...over }) as Listener
const told = (...p: Parameters<typeof findCaptureProblem>): string | undefined => {
  const problem = findCaptureProblem(...p)
  if (problem) assert.equal(problem.code, 'MESH_CAPTURE_UNAVAILABLE')
  return problem?.message
}
const missing = (ports: string): string =>
  `capture: transparent is told to the control plane, but no socket was passed for ${ports}: to a port that meshlet opens itself the kernel delivers no redirected connection`

test('explicit needs nothing; redirect cannot be served, whatever is passed', () => {
  assert.equal(told({ capture: 'explicit' }, undefined), undefined)
  assert.equal(
    told({ capture: 'redirect' }, passed(15_001, 15_006)),
    'capture: redirect is told to the control plane, but the destination of a redirected connection cannot be learnt, so that all of them are refused',
  )
})
test('transparent needs the sockets of both ports, and says which one is missing', () => {
  assert.equal(told({ capture: 'transparent' }, undefined), missing('0.0.0.0:15001 and 0.0.0.0:15006'))
  assert.equal(told({ capture: 'transparent' }, passed(15_001)), missing('0.0.0.0:15006'))
  assert.equal(told({ capture: 'transparent' }, passed(15_006)), missing('0.0.0.0:15001'))
  assert.equal(told({ capture: 'transparent' }, passed(15_001, 15_006)), undefined)
})
test('once they are known, the ports are those of the listeners that are to be transparent', () => {
  const listeners = [
    pushed(15_021),
    pushed(15_006),
    pushed(15_091, { transparent: false }),
    pushed(80, { bindToPort: false }),
  ]
  assert.equal(told({ capture: 'transparent' }, passed(15_021, 15_006), listeners), undefined)
  assert.equal(told({ capture: 'transparent' }, passed(15_001, 15_006), listeners), missing('0.0.0.0:15021'))
})
