import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../../core/errors.ts'
import { Metrics } from '../../../../core/metrics.ts'
import type { Cluster } from '../../../../model/cluster.ts'
import type { ForwardAction } from '../../../../model/route.ts'
import { Attempt, type AttemptOwner } from '../../../../protocols/http/exchange/attempt.ts'
import type { ForwardPlan } from '../../../../protocols/http/exchange/planning/plan.ts'
import { createRecord } from '../../../../protocols/http/exchange/record.ts'
import { ReplayBuffer } from '../../../../protocols/http/exchange/replay-buffer.ts'
import type { RequestOrigin } from '../../../../protocols/http/exchange/request-origin.ts'
import { UNKNOWN_LENGTH } from '../../../../protocols/http/codec/framing.ts'
import {
  RequestHead,
  type CallEvents,
  type CallOptions,
  type Downstream,
  type HttpCall,
  type UpstreamRequest,
} from '../../../../protocols/http/message.ts'
import type { HttpRuntime } from '../../../../protocols/http/runtime.ts'
import { Waiting } from '../../../../protocols/waiting.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'
import { cluster, endpoint, forwardTo } from '../harness.ts'

const clock = new SimClock()
const HOST = endpoint('10.1.0.1', 80)
const OK = { status: 200, headers: [], contentLength: 2 }

/** One attempt between a client, an exchange and an endpoint that only write down what they are told. */
class Rig {
  readonly log: string[] = []
  /** Whether the other side takes more. */
  clientTakes = true
  endpointTakes = true
  isAnswering = false
  options: CallOptions | undefined
  readonly body: ReplayBuffer
  readonly attempt: Attempt
  readonly #request: RequestHead

  constructor(bodyLength: number, headers: string[] = []) {
    this.#request = new RequestHead({
      method: 'POST',
      scheme: 'http',
      authority: 'a',
      path: '/p',
      headers,
      version: 'HTTP/1.1',
      bodyLength,
      upgrade: undefined,
      expectContinue: false,
    })
    this.body = new ReplayBuffer(8, new Waiting({ clock, metrics: new Metrics() }), { source: 'c', abort: assert.fail })
    const say =
      (what: string) =>
      (...args: unknown[]): void => {
        this.log.push([what, ...args.filter((a) => a !== undefined).map(text)].join(' '))
      }
    const down = {
      sendData: say('to client:'),
      flush: () => this.clientTakes,
      pauseRequest: say('pause request'),
      resumeRequest: say('resume request'),
    } as unknown as Downstream
    // oxlint-disable-next-line typescript/no-this-alias -- a getter of the owner below has a `this` of its own
    const rig = this
    const owner: AttemptOwner = {
      source: '10.0.0.9',
      client: {
        source: '10.0.0.9',
        conn: { originalDst: undefined, remote: { host: 'r', port: 1 }, local: { host: 'l', port: 2 } },
      } as unknown as RequestOrigin,
      request: this.#request,
      remoteIp: '10.0.0.9',
      record: createRecord({ clock }, {}, this.#request),
      body: this.body,
      down,
      get isAnswering() {
        return rig.isAnswering
      },
      requestToSend: () => this.#request as unknown as UpstreamRequest,
      onPicked: say('picked'),
      onMoved: say('moved'),
      onSending: say('sending'),
      onInformational: say('informational'),
      onHead: say('head'),
      onEnd: say('end'),
      onUpgraded: say('upgraded'),
      onFailed: say('failed'),
    }
    this.attempt = new Attempt(owner)
  }

  /** @param how what startCall does before it returns */
  start(
    how: 'waits' | ((events: CallEvents) => void),
    of: Cluster = cluster(),
    action: Partial<ForwardAction> = {},
  ): void {
    const upstreams = {
      startCall: (_: Cluster, options: CallOptions, events: CallEvents) => {
        this.options = options
        if (how === 'waits') return { cancel: () => this.log.push('pending is cancelled') }
        how(events)
        return undefined
      },
    }
    const plan = { cluster: of, action: forwardTo(action), authority: 'a', retry: undefined } as unknown as ForwardPlan
    this.attempt.start({ upstreams } as unknown as HttpRuntime, plan, false, undefined)
  }
  call(): HttpCall {
    const say =
      (what: string) =>
      (...args: unknown[]): void => {
        this.log.push([what, ...args.filter((a) => a !== undefined).map(text)].join(' '))
      }
    return {
      endpoint: HOST,
      sendHead: (_, end) => this.log.push(end ? 'to endpoint: whole head' : 'to endpoint: head'),
      sendData: say('to endpoint:'),
      sendEnd: say('to endpoint: end'),
      flush: () => this.endpointTakes,
      pauseResponse: say('pause response'),
      resumeResponse: say('resume response'),
      cancel: say('call is cancelled'),
    } as HttpCall
  }
  took(): string[] {
    return this.log.splice(0)
  }
}
function text(value: unknown): string {
  if (Buffer.isBuffer(value)) return value.toString()
  if (value instanceof MeshError) return value.code
  if (typeof value === 'object' && value !== null && 'status' in value) return String(value.status)
  if (typeof value === 'object' && value !== null && 'address' in value) return String(value.address)
  return typeof value === 'string' ? value : JSON.stringify(value)
}

test('what has come of the body leaves with the head, the rest as it comes', () => {
  const rig = new Rig(6)
  rig.body.add(Buffer.from('ab'))
  rig.start('waits')
  assert.equal(rig.attempt.isOpen, false)
  rig.body.add(Buffer.from('cd'))
  rig.attempt.onCall(rig.call())
  assert.equal(rig.attempt.isOpen, true)
  assert.deepEqual(rig.took(), ['to endpoint: head', 'to endpoint: ab', 'to endpoint: cd', 'sending', 'resume request'])
  assert.equal(rig.attempt.sent, 'part')
  rig.body.add(Buffer.from('ef'))
  rig.attempt.sendData(Buffer.from('ef'))
  rig.attempt.sendEnd(['t', '1'])
  assert.deepEqual(rig.took(), ['to endpoint: ef', 'to endpoint: end ["t","1"]'])
  assert.equal(rig.attempt.sent, 'all')
})
for (const { name, bodyLength, ended, told, sent } of [
  {
    name: 'no body',
    bodyLength: 0,
    ended: false,
    told: ['to endpoint: whole head', 'sending', 'resume request'],
    sent: 'all',
  },
  {
    name: 'no body, and its end has come',
    bodyLength: 0,
    ended: true,
    told: ['to endpoint: whole head', 'sending'],
    sent: 'all',
  },
  {
    name: 'a body whose end has come',
    bodyLength: UNKNOWN_LENGTH,
    ended: true,
    told: ['to endpoint: head', 'to endpoint: end', 'sending'],
    sent: 'all',
  },
  {
    name: 'a body to come',
    bodyLength: UNKNOWN_LENGTH,
    ended: false,
    told: ['to endpoint: head', 'sending', 'resume request'],
    sent: 'part',
  },
])
  test(`what a connection is given at once: ${name}`, () => {
    const rig = new Rig(bodyLength)
    if (ended) rig.body.end(undefined)
    rig.start((events) => events.onCall(rig.call()))
    assert.deepEqual(rig.took(), told)
    assert.equal(rig.attempt.sent, sent)
    assert.equal(rig.attempt.isOpen, true)
  })

test('an endpoint that takes no more pauses the client, until it has drained', () => {
  const rig = new Rig(6)
  rig.endpointTakes = false
  rig.start((events) => events.onCall(rig.call()))
  assert.equal(rig.took().includes('resume request'), false)
  rig.attempt.sendData(Buffer.from('ab'))
  assert.deepEqual(rig.took(), ['to endpoint: ab', 'pause request'])
  rig.attempt.onCallDrained()
  assert.deepEqual(rig.took(), ['resume request'])
  rig.body.end(undefined)
  rig.attempt.onCallDrained()
  assert.deepEqual(rig.took(), [])
})
test('a client that takes no more pauses the answer, once there is one', () => {
  const rig = new Rig(0)
  rig.start((events) => events.onCall(rig.call()))
  rig.took()
  rig.clientTakes = false
  rig.attempt.onCallPause()
  assert.deepEqual(rig.took(), [])
  rig.attempt.onCallHead(OK, false)
  rig.isAnswering = true
  rig.attempt.onCallData(Buffer.from('hi'))
  rig.attempt.onCallPause()
  rig.attempt.resumeResponse()
  assert.deepEqual(rig.took(), ['head 200 false', 'to client: hi', 'pause response', 'resume response'])
})

for (const { name, tell, told } of [
  { name: 'answered', tell: (a: Attempt) => a.onCallEnd(undefined), told: 'end' },
  { name: 'moved', tell: (a: Attempt) => a.onCallMoved(), told: 'moved' },
  {
    name: 'failed',
    tell: (a: Attempt) => a.onCallFailed(new MeshError('MESH_UPSTREAM_RESET', 'x'), 'part', true),
    told: 'failed MESH_UPSTREAM_RESET part true',
  },
])
  test(`an attempt that has ${name} is over: there is nothing to cancel and nobody to send to`, () => {
    const rig = new Rig(6)
    rig.start((events) => events.onCall(rig.call()))
    rig.took()
    tell(rig.attempt)
    assert.equal(rig.attempt.isOpen, false)
    rig.attempt.cancel()
    rig.attempt.resumeResponse()
    assert.deepEqual(rig.took(), [told])
  })
test('a call that fails before startCall returns leaves nothing to cancel', () => {
  const rig = new Rig(0)
  rig.start((events) => events.onCallFailed(new MeshError('MESH_NO_ENDPOINT', 'x'), 'nothing'))
  rig.attempt.cancel()
  assert.deepEqual(rig.took(), ['failed MESH_NO_ENDPOINT nothing false'])
})
test('cancelled: what waits for a connection and what has one', () => {
  const waits = new Rig(0)
  waits.start('waits')
  waits.attempt.cancel()
  waits.attempt.cancel()
  assert.deepEqual(waits.took(), ['pending is cancelled'])
  const open = new Rig(0)
  open.start((events) => events.onCall(open.call()))
  open.took()
  open.attempt.cancel()
  open.attempt.cancel()
  assert.deepEqual(open.took(), ['call is cancelled'])
})

test('a hash is worked out only for a balancer that uses it', () => {
  const hash: ForwardAction['hash'] = [{ kind: 'header', name: 'x-user', terminal: false }]
  const hashOf = (of: Partial<Cluster>, user: string): bigint | undefined => {
    const rig = new Rig(0, ['x-user', user])
    rig.start('waits', cluster([HOST], of), { hash })
    return rig.options?.hash
  }
  const ring: Cluster['balancer'] = { kind: 'ring-hash', minSize: 1, maxSize: 8, hashFunction: 'xx' } as never
  assert.equal(hashOf({}, 'a'), undefined)
  assert.equal(typeof hashOf({ balancer: ring }, 'a'), 'bigint')
  assert.notEqual(hashOf({ balancer: ring }, 'a'), hashOf({ balancer: ring }, 'b'))
})
