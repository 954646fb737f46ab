/** Keys through a cluster: what is asked, and what becomes of each answer. Time and chance are simulated. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { MAX_JWKS_BYTES } from '../../../core/jwt/jwks.ts'
import type { Cluster } from '../../../model/cluster.ts'
import type { RemoteJwks } from '../../../model/http/jwt.ts'
import type {
  CallEvents,
  CallOptions,
  HttpCall,
  HttpUpstreams,
  UpstreamRequest,
} from '../../../protocols/http/message.ts'
import { readThroughCluster } from '../../../protocols/jwks/through-cluster.ts'
import { seededRandom } from '../../helpers/random.ts'
import { settle, SimClock } from '../../helpers/sim-clock.ts'

const REMOTE: RemoteJwks = {
  cluster: 'id',
  scheme: 'https',
  authority: 'id.test',
  path: '/keys',
  timeoutMs: 5_000,
  refreshMs: 60_000,
  failedRefetchMs: 1_000,
  retries: 0,
  backoff: { baseMs: 1_000, capMs: 1_000 },
}
type Answer = number | 'hang' | 'moved' | 'refused' | 'closed' | 'huge' | 'upgraded'

class Issuer {
  readonly clock = new SimClock()
  readonly heads: UpstreamRequest[] = []
  readonly options: CallOptions[] = []
  cancelled = 0
  readonly givenUp = new AbortController()
  readonly kept: number[] = []
  readonly #answers: Answer[]
  constructor(...answers: Answer[]) {
    this.#answers = answers
  }

  read(more: Partial<RemoteJwks> = {}): Promise<string> {
    return readThroughCluster(
      { ...REMOTE, ...more },
      {
        clock: this.clock,
        random: seededRandom(1),
        arrival: { signal: this.givenUp.signal, set: (bytes) => void this.kept.push(bytes) },
        findCluster: (name) => (name === 'id' ? ({ name } as Cluster) : undefined),
        upstreams: {
          startCall: (_: Cluster, o: CallOptions, events: CallEvents) => this.#call(o, events),
        } as HttpUpstreams,
      },
    )
  }
  #call(options: CallOptions, events: CallEvents): undefined {
    this.options.push(options)
    const answer = this.#answers.shift() ?? assert.fail('one call more')
    if (answer === 'moved') events.onCallMoved()
    else if (answer === 'refused')
      events.onCallFailed(new MeshError('MESH_CONNECT_FAILED', 'nobody listens'), 'nothing')
    else
      events.onCall({
        sendHead: (head: UpstreamRequest, end: boolean) => {
          assert.ok(end)
          this.heads.push(head)
        },
        flush: () => this.#answer(answer, events),
        cancel: () => this.cancelled++,
      } as unknown as HttpCall)
  }
  #answer(answer: Exclude<Answer, 'moved' | 'refused'>, events: CallEvents): void {
    if (answer === 'hang') return
    if (answer === 'closed') {
      events.onCallFailed(new MeshError('MESH_UPSTREAM_RESET', 'closed'), 'nothing', true)
      return
    }
    if (answer === 'upgraded') {
      events.onCallUpgraded({} as never, { destroy: () => undefined } as never, {} as never)
      return
    }
    const status = answer === 'huge' ? 200 : answer
    events.onCallHead({ status, headers: [] } as never, false)
    events.onCallData(answer === 'huge' ? Buffer.alloc(MAX_JWKS_BYTES + 1) : Buffer.from('{"keys":[]}'))
    events.onCallEnd(undefined)
  }
}

test('one GET with the host and path of the address, nothing else', async () => {
  const issuer = new Issuer(200)
  assert.equal(await issuer.read(), '{"keys":[]}')
  const { method, scheme, authority, path, headers, bodyLength } = issuer.heads[0]!
  assert.deepEqual([method, scheme, authority, path, headers, bodyLength], ['GET', 'https', 'id.test', '/keys', [], 0])
  assert.equal(issuer.clock.pendingTimers, 0)
})

for (const [answer, why] of [
  [404, /the status is 404/],
  [302, /the status is 302/],
  [503, /the status is 503/],
  ['refused', /nobody listens/],
  ['huge', /larger than/],
  ['upgraded', /switched protocols/],
] as const)
  test(`${answer}: no keys, and nothing is left behind`, async () => {
    const issuer = new Issuer(answer)
    await assert.rejects(issuer.read(), why)
    assert.equal(issuer.clock.pendingTimers, 0)
  })
test('a cluster that is not there', () => assert.rejects(new Issuer().read({ cluster: 'x' }), /cluster x is unknown/))

test('what is worth it is tried again, as often as is asked for', async () => {
  const issuer = new Issuer(503, 'refused', 200)
  const read = issuer.read({ retries: 2 })
  await issuer.clock.advance(2_000)
  assert.equal(await read, '{"keys":[]}')
  const worn = new Issuer(503, 503)
  const failed = assert.rejects(worn.read({ retries: 1 }), /503/)
  await worn.clock.advance(2_000)
  await failed
  await assert.rejects(new Issuer(404).read({ retries: 5 }), /404/)
})

test('a connection of the pool that was closed, and a cluster that was replaced, are no tries', async () => {
  const issuer = new Issuer('closed', 'moved', 200)
  assert.equal(await issuer.read(), '{"keys":[]}')
  assert.deepEqual(
    issuer.options.map(({ fresh }) => fresh),
    [false, true, true],
  )
})

test('the time is that of all tries together; a call under way is given up', async () => {
  const issuer = new Issuer(503, 'hang')
  const failed = assert.rejects(issuer.read({ retries: 9 }), { code: 'MESH_UPSTREAM_TIMEOUT' })
  await issuer.clock.advance(5_000)
  await failed
  await settle()
  assert.deepEqual([issuer.cancelled, issuer.clock.pendingTimers], [1, 0])
})

test('what is there of a document is told, and it is given up when others need the memory', async () => {
  const whole = new Issuer(503, 200)
  const read = whole.read({ retries: 1 })
  await whole.clock.advance(2_000)
  await read
  assert.deepEqual(whole.kept, [11, 0, 11])
  const issuer = new Issuer('hang')
  const failed = assert.rejects(issuer.read(), { code: 'MESH_JWKS_UNAVAILABLE' })
  issuer.givenUp.abort(new MeshError('MESH_JWKS_UNAVAILABLE', 'others need the memory'))
  await failed
  assert.deepEqual([issuer.cancelled, issuer.clock.pendingTimers], [1, 0])
})
