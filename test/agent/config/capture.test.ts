import { test } from 'node:test'
import assert from 'node:assert/strict'
import { captureProblem } from '../../../agent/config/capture.ts'

test('a mode that cannot be served is a problem with its reason; the one that is served is none', () => {
  assert.deepEqual((['explicit', 'redirect', 'transparent'] as const).map((capture) => captureProblem({ capture })).map((p) => p && [p.code, p.message]), [
    undefined,
    ['MESH_CAPTURE_UNAVAILABLE', 'capture: redirect is told to the control plane, but the destination of a redirected connection cannot be learnt, so that all of them are refused'],
    ['MESH_CAPTURE_UNAVAILABLE', 'capture: transparent is told to the control plane, but the ports are opened without IP_TRANSPARENT, so that the kernel delivers no redirected connection'],
  ])
})
