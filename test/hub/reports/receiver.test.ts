import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { MeshError } from '../../../core/errors.ts'
import { packMessage } from '../../../core/relay/compression.ts'
import type { RelayStream, StreamEvents } from '../../../core/relay/stream.ts'
import { ReportReceiver, type NamedNode } from '../../../hub/reports/receiver.ts'
import { encodeReport, splitReport } from '../../../model/fleet/report-message.ts'
import type { Report } from '../../../model/fleet/report.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'

const message = (now: Report, before?: Report): Uint8Array =>
  packMessage(encodeReport(splitReport(now), before ? splitReport(before) : new Map()), { withDictionary: true })

function rig() {
  const taken: (readonly [name: string, state: string, expected: string])[] = []
  const refused: string[] = []
  const receiver = new ReportReceiver({
    take: (name, report, expected) => taken.push([name, report.state, expected]),
    admit: () => undefined,
    refused: ({ code }) => refused.push(code),
  })
  let computed = 0
  const node = (name: string): NamedNode => ({ name, computeContent: () => `hash ${++computed}` })
  const open = () => {
    let events: StreamEvents | undefined
    const stream = {
      isOver: false,
      listen: (given: StreamEvents) => (events = given),
      reset: (_reason: MeshError) => {
        stream.isOver = true
      },
    }
    receiver.accept(stream as unknown as RelayStream)
    return { stream, say: (bytes: Uint8Array) => events!.onMessage(bytes) }
  }
  return { taken, refused, receiver, node, open }
}

test('a report that comes before the node waits for it, and is taken once', () => {
  const { taken, receiver, node, open } = rig()
  const { say } = open()
  say(message(REPORT))
  say(message({ ...REPORT, state: 'draining' }, REPORT))
  assert.deepEqual(taken, [])
  receiver.enter(node('gw-1'))
  assert.deepEqual(taken, [['gw-1', 'draining', 'hash 1']])
})

test('the hash is computed anew where a report says something else of the configuration', () => {
  const { taken, receiver, node, open } = rig()
  receiver.enter(node('gw-1'))
  const { say } = open()
  say(message(REPORT))
  say(message({ ...REPORT, state: 'draining' }, REPORT))
  say(message({ ...REPORT, state: 'draining', content: 'bb' }, { ...REPORT, state: 'draining' }))
  assert.deepEqual(
    taken.map(([, , expected]) => expected),
    ['hash 1', 'hash 1', 'hash 2'],
  )
})

test('a connection with two nodes has no reports, nor one whose node has gone', () => {
  const { taken, refused, receiver, node, open } = rig()
  const first = receiver.enter(node('gw-1'))
  receiver.enter(node('gw-2'))
  const { say, stream } = open()
  say(message(REPORT))
  assert.deepEqual([taken.length, refused, stream.isOver], [0, ['MESH_CONTROL_PROTOCOL'], true])
  first[Symbol.dispose]()
  open().say(message(REPORT))
  assert.deepEqual(
    taken.map(([name]) => name),
    ['gw-2'],
  )
})
