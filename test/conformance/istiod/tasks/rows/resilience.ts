/** Traffic management: attempts, limits, and which endpoint is taken. */
import assert from 'node:assert/strict'
import { sleep } from '../../../programs.ts'
import { call, callGrpc, talk, waitForClose } from '../mesh/calls.ts'
import { hostOf, SERVICES, urlOf } from '../mesh/services.ts'
import type { Task } from '../task.ts'
import { countApps, destinationRule, LOCAL_URL, localized, routeTo, virtualService } from '../yaml/yaml.ts'

const { reviews, httpbin, tcpEcho, grpc } = SERVICES
const URL = urlOf(reviews)
let runs = 0
/** Another one each time: the application counts by it. */
const failing = (times: number, status = 503): string => `/?status=${status}&times=${times}&fail=${++runs}`

const retries = (retryOn: string): string =>
  virtualService(
    httpbin,
    `  - {retries: {attempts: 3, perTryTimeout: 2s, retryOn: "${retryOn}", backoff: 10ms}, ${routeTo(httpbin)}}\n`,
  )
const consistentHash = (hash: string): string =>
  destinationRule(reviews, { policy: `{loadBalancer: {consistentHash: {${hash}}}}` })

/** Of all requests with one of the keys, how many applications answered. */
async function appsOf(keys: readonly string[], ask: (key: string) => Promise<string>): Promise<readonly Set<string>[]> {
  return Promise.all(
    keys.map(async (key) => {
      const apps = new Set<string>()
      for (let i = 0; i < 6; i++) apps.add(await ask(key))
      return apps
    }),
  )
}
const WARMUP_SEC = 6
const WARMUP = `{simple: ROUND_ROBIN, warmup: {duration: ${WARMUP_SEC}s, minimumPercent: 10}}`
const KEYS = Array.from({ length: 12 }, (_, i) => `key-${i}`)
/** The same endpoint for one key, not the same for all. */
function assertSticky(all: readonly Set<string>[]): void {
  for (const apps of all) assert.equal(apps.size, 1, [...apps].join())
  assert.ok(new Set(all.flatMap((apps) => [...apps])).size > 1)
}

/** Whether a connection to tcp-echo on which nothing is said is ended by somebody. */
const isClosed = (): Promise<boolean> => waitForClose(hostOf(tcpEcho), tcpEcho.port)

export const resilience: readonly Task[] = [
  {
    name: 'Retries',
    page: 'concepts/traffic-management/#retries',
    yaml: retries('5xx'),
    checks: [
      {
        what: 'a GET is asked again until it is answered, as often as the policy says',
        run: async (mesh) => {
          await mesh.seen('httpbin-v1')
          assert.equal((await call(urlOf(httpbin, failing(2)))).status, 200)
          assert.equal((await mesh.seen('httpbin-v1')).length, 3)
          assert.equal((await call(urlOf(httpbin, failing(9)))).status, 503)
          assert.equal((await mesh.seen('httpbin-v1')).length, 4)
        },
      },
      {
        what: 'the attempt is counted for the application',
        run: async (mesh) => {
          await mesh.seen('httpbin-v1')
          await call(urlOf(httpbin, failing(1)))
          const counts = (await mesh.seen('httpbin-v1')).map((s) => s.headers['x-envoy-attempt-count'])
          assert.deepEqual(counts, ['1', '2'])
        },
      },
      {
        what: 'by default 503 is not repeated for an answer, and refused connections are',
        yaml: '',
        run: async (mesh) => {
          await mesh.seen('httpbin-v1')
          assert.equal((await call(urlOf(httpbin, failing(1, 500)))).status, 500)
          assert.equal((await mesh.seen('httpbin-v1')).length, 1)
        },
      },
      {
        what: 'a POST is asked again',
        differs: 'POST is not repeated once an endpoint has answered',
        run: async () => {
          assert.equal((await call(urlOf(httpbin, failing(1)), { method: 'POST', body: 'order' })).status, 200)
        },
      },
      {
        what: 'gRPC: UNAVAILABLE of the server is asked again',
        yaml: virtualService(grpc, `  - {retries: {attempts: 2, retryOn: unavailable}, ${routeTo(grpc)}}\n`),
        run: async (mesh) => {
          for (const app of ['grpc-v1', 'grpc-v2']) await mesh.seen(app)
          await callGrpc(hostOf(grpc), grpc.port, '/echo.Echo/Say', { 'grpc-answer': '14' })
          const seen = [...(await mesh.seen('grpc-v1')), ...(await mesh.seen('grpc-v2'))]
          assert.equal(seen.length, 3)
        },
      },
    ],
  },
  {
    name: 'Circuit breaking',
    page: 'tasks/traffic-management/circuit-breaking/',
    yaml: destinationRule(httpbin, {
      policy: `{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1, maxRequestsPerConnection: 1}}}`,
    }),
    checks: [
      {
        what: 'of many requests at once some are refused with 503',
        run: async () => {
          const all = await Promise.all(Array.from({ length: 8 }, () => call(urlOf(httpbin, '/?delay=200'))))
          const served = all.filter((a) => a.status === 200).length
          assert.deepEqual([served >= 1 && served <= 4, all.filter((a) => a.status === 503).length], [true, 8 - served])
        },
      },
      {
        what: 'what is refused says so (x-envoy-overloaded)',
        run: async () => {
          const all = await Promise.all(Array.from({ length: 8 }, () => call(urlOf(httpbin, '/?delay=200'))))
          assert.ok(all.filter((a) => a.status === 503).every((a) => a.headers['x-envoy-overloaded'] === 'true'))
        },
      },
      {
        what: 'an endpoint that fails is left out for a while',
        yaml: destinationRule(reviews, {
          policy:
            '{outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}}',
        }),
        run: async () => {
          const { app } = await call(`${URL}?status=500&x=1`)
          const after = await countApps(URL, 30)
          assert.equal(after[app], undefined, JSON.stringify(after))
          assert.equal(Object.keys(after).length, 2, JSON.stringify(after))
        },
      },
    ],
  },
  {
    name: 'TCP connections: maximum duration, idle time',
    page: 'reference/config/networking/destination-rule/#ConnectionPoolSettings-TCPSettings',
    checks: [
      {
        what: 'a connection ends after its maximum duration',
        yaml: destinationRule(tcpEcho, { policy: '{connectionPool: {tcp: {maxConnectionDuration: 0.5s}}}' }),
        run: async () => {
          assert.equal(await isClosed(), true)
        },
      },
      {
        what: 'a connection ends when nothing comes for so long',
        yaml: destinationRule(tcpEcho, { policy: '{connectionPool: {tcp: {idleTimeout: 0.5s}}}' }),
        run: async () => {
          assert.equal(await isClosed(), true)
        },
      },
    ],
  },
  {
    name: 'Mirroring',
    page: 'tasks/traffic-management/mirroring/',
    yaml:
      destinationRule(reviews, { subsets: ['v1', 'v2'] }) +
      virtualService(
        reviews,
        `  - route: [{destination: {host: ${hostOf(reviews)}, subset: v1}}]
    mirror: {host: ${hostOf(reviews)}, subset: v2}
    mirrorPercentage: {value: 100}
`,
      ),
    checks: [
      {
        what: 'v1 answers, v2 gets a copy',
        run: async (mesh) => {
          await mesh.seen('reviews-v2')
          assert.equal((await call(urlOf(reviews, '/mirrored'))).app, 'reviews-v1')
          assert.deepEqual(
            await mesh.eventually(
              () => mesh.seen('reviews-v2'),
              (seen) => seen.length > 0,
              (seen) => seen.map((s) => s.url),
            ),
            ['/mirrored'],
          )
        },
      },
    ],
  },
  {
    name: 'Locality load balancing: failover, distribution, failoverPriority',
    page: 'tasks/traffic-management/locality-load-balancing/',
    checks: [
      {
        what: 'shares by locality',
        yaml: localized(
          `{simple: ROUND_ROBIN, localityLbSetting: {enabled: true, distribute: [{from: region1/zone1/*, to: {"region1/zone1/*": 70, "region2/zone2/*": 30}}]}}`,
        ),
        run: async () => {
          const counts = await countApps(LOCAL_URL, 200)
          const { 'reviews-v1': one = 0, 'reviews-v2': two = 0 } = counts
          assert.equal(one + two, 200, JSON.stringify(counts))
          assert.ok(two > 25 && two < 100, JSON.stringify(counts))
        },
      },
      {
        what: 'priorities by labels',
        yaml: localized(`{simple: ROUND_ROBIN, localityLbSetting: {enabled: true, failoverPriority: ["site=a"]}}`),
        run: async () => {
          const counts = await countApps(LOCAL_URL, 20)
          assert.deepEqual(counts, { 'reviews-v2': 20 })
        },
      },
      {
        what: 'the own zone first; the next one once it fails',
        yaml: localized(
          `{simple: ROUND_ROBIN, localityLbSetting: {enabled: true, failover: [{from: region1, to: region3}]}}`,
        ),
        run: async () => {
          assert.deepEqual(await countApps(LOCAL_URL, 10), { 'reviews-v1': 10 })
          const failed = await call(`${LOCAL_URL}?status=500&x=1`)
          assert.equal(failed.status, 500)
          assert.deepEqual(await countApps(LOCAL_URL, 10), { 'reviews-v3': 10 })
        },
      },
    ],
  },
  {
    name: 'Affinity: consistent hashing',
    page: 'reference/config/networking/destination-rule/#LoadBalancerSettings-ConsistentHashLB',
    checks: [
      {
        what: 'by header',
        yaml: consistentHash('httpHeaderName: x-user'),
        run: async () => {
          assertSticky(await appsOf(KEYS, async (key) => (await call(URL, { headers: { 'x-user': key } })).app))
        },
      },
      {
        what: 'by query',
        yaml: consistentHash('httpQueryParameterName: user, maglev: {tableSize: 101}'),
        run: async () => {
          assertSticky(await appsOf(KEYS, async (key) => (await call(`${URL}?user=${key}`)).app))
        },
      },
      {
        what: 'by cookie',
        yaml: consistentHash('httpCookie: {name: user, ttl: 0s}'),
        run: async () => {
          assertSticky(await appsOf(KEYS, async (key) => (await call(URL, { headers: { cookie: `user=${key}` } })).app))
        },
      },
      {
        what: 'by source address',
        yaml: consistentHash('useSourceIp: true'),
        run: async () => {
          assert.equal(Object.keys(await countApps(URL, 16)).length, 1)
        },
      },
      {
        what: 'a cookie is made for whoever has none',
        yaml: consistentHash('httpCookie: {name: user, ttl: 60s}'),
        run: async () => {
          const { headers } = await call(URL)
          assert.match(String(headers['set-cookie']), /^user="?[0-9a-f]+"?; Max-Age=60; HttpOnly/)
        },
      },
      {
        what: 'TCP by source address',
        yaml: destinationRule(tcpEcho, { policy: '{loadBalancer: {consistentHash: {useSourceIp: true}}}' }),
        run: async () => {
          const said = new Set<string>()
          for (let i = 0; i < 16; i++) said.add(await talk(hostOf(tcpEcho), tcpEcho.port, 'x\n'))
          assert.equal(said.size, 1, [...said].join())
        },
      },
    ],
  },
  {
    name: 'Warm-up of endpoints',
    page: 'reference/config/networking/destination-rule/#WarmupConfiguration',
    checks: [
      {
        what: 'a fresh endpoint gets less than its share',
        yaml: localized(WARMUP, { versions: ['v1', 'v2'], outliers: false }),
        run: async (mesh) => {
          // Until the others, which are in use, are warm.
          await countApps(LOCAL_URL, 2)
          await sleep(WARMUP_SEC * 1000)
          await mesh.set({ yaml: localized(WARMUP, { outliers: false }) })
          const { 'reviews-v3': fresh = 0 } = await countApps(LOCAL_URL, 90)
          assert.ok(fresh < 20, String(fresh))
        },
      },
    ],
  },
  {
    name: 'Persistent sessions (label istio.io/persistent-session)',
    page: 'reference/config/labels/#IoIstioPersistentSession',
    yaml: `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: sticky, namespace: default, labels: {istio.io/persistent-session: my-session}}
spec:
  hosts: [sticky.default.svc.cluster.local]
  addresses: [10.96.1.10]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: main, protocol: HTTP}]
  workloadSelector: {labels: {app: reviews}}
`,
    checks: [
      {
        what: 'who comes with the cookie of an answer meets the same endpoint, who has none gets one',
        run: async () => {
          const url = 'http://sticky.default.svc.cluster.local:9080/'
          const first = await call(url)
          const cookie = String(first.headers['set-cookie'])
          assert.match(cookie, /^my-session=[^;]+; Path=\/; HttpOnly/)
          const sent = { headers: { cookie: cookie.split(';', 1)[0]! } }
          assert.deepEqual(await countApps(url, 20, sent), { [first.app]: 20 })
          assert.ok(Object.keys(await countApps(url, 30)).length > 1)
        },
      },
    ],
  },
]
