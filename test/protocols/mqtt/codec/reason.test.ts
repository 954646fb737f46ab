import { test } from 'node:test'
import assert from 'node:assert/strict'
import { CATALOGUE, MeshError, type ErrorCode } from '../../../../core/errors.ts'
import {
  toConnackReason,
  toDisconnectReason,
  REASON,
  toReason,
  toReturnCode,
  createViolation,
} from '../../../../protocols/mqtt/codec/reason.ts'

/** MQTT 5.0 §3.2.2.2 and §3.14.2.1. */
const CONNACK = '80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f'
  .split(' ')
  .map((hex) => parseInt(hex, 16))
const DISCONNECT = '00 04 80 81 82 83 87 89 8b 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2'
  .split(' ')
  .map((hex) => parseInt(hex, 16))
const CODES = Object.keys(CATALOGUE) as ErrorCode[]

test('whatever ends a connection has a reason that CONNACK and DISCONNECT may have, in both versions', () => {
  assert.ok(CODES.length > 50)
  const all = [
    ...CODES.map((code) => new MeshError(code, 'why')),
    ...Object.values(REASON).map((reason) => createViolation(reason, 'why')),
  ]
  for (const err of all) {
    assert.ok(CONNACK.includes(toConnackReason(err)), `${err.code} ${toConnackReason(err).toString(16)}`)
    assert.ok([undefined, 1, 2, 3, 4, 5].includes(toReturnCode(err)), err.code)
    assert.ok(DISCONNECT.includes(toDisconnectReason(err)), `${err.code} ${toDisconnectReason(err).toString(16)}`)
  }
})

test('what a client can do something about is told apart', () => {
  const said = (code: ErrorCode): unknown[] => {
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
  assert.equal(toReturnCode(createViolation(REASON.clientIdNotValid, 'why')), 2)
  assert.equal(toReturnCode(createViolation(REASON.topicNameInvalid, 'why')), undefined, '[MQTT-3.2.2-6]')
  assert.equal(toReason(new MeshError('MESH_DRAINING', 'why')), REASON.serverShuttingDown)
})
