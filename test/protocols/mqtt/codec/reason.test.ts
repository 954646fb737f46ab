import { test } from 'node:test'
import assert from 'node:assert/strict'
import { CATALOGUE, MeshError, type ErrorCode } from '../../../../core/errors.ts'
import {
  toConnackReason,
  REASON,
  toReason,
  toReturnCode,
  createViolation,
} from '../../../../protocols/mqtt/codec/reason.ts'

/** MQTT 5.0 §3.2.2.2 and §3.14.2.1, from the server. */
const CONNACK = '80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f'
  .split(' ')
  .map((hex) => parseInt(hex, 16))
const CODES = Object.keys(CATALOGUE) as ErrorCode[]

test('whatever keeps a client out has a reason that CONNACK may have, in both versions', () => {
  assert.ok(CODES.length > 50)
  const all = [
    ...CODES.map((code) => new MeshError(code, 'why')),
    ...Object.values(REASON).map((reason) => createViolation(reason, 'why')),
  ]
  for (const err of all) {
    assert.ok(CONNACK.includes(toConnackReason(err)), `${err.code} ${toConnackReason(err).toString(16)}`)
    assert.ok([1, 2, 3, 4, 5].includes(toReturnCode(err)), err.code)
  }
})

test('what a client can do something about is told apart', () => {
  const said = (code: ErrorCode): number[] => {
    const err = new MeshError(code, 'why')
    return [toConnackReason(err), toReturnCode(err)]
  }
  assert.deepEqual(
    (
      [
        'MESH_MQTT_BAD_CREDENTIALS',
        'MESH_MQTT_USER_NEEDED',
        'MESH_MQTT_USERS_FILE',
        'MESH_JWKS_UNAVAILABLE',
        'MESH_LISTENER_FULL',
        'MESH_REQUEST_TIMEOUT',
        'MESH_DRAINING',
        'MESH_INTERNAL',
      ] as const
    ).map(said),
    [
      [0x86, 4],
      [0x87, 5],
      [0x88, 3],
      [0x88, 3],
      [0x89, 3],
      [0x89, 3],
      [0x88, 3],
      [0x80, 3],
    ],
  )
  assert.equal(toReturnCode(createViolation(REASON.unsupportedVersion, 'why')), 1)
  assert.equal(toReason(new MeshError('MESH_DRAINING', 'why')), REASON.serverShuttingDown)
})
