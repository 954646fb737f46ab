import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { readConfig, type ConfigSource } from '../../../agent/cli/read-config.ts'
import { readNodeSettings } from '../../../agent/control-sync-settings.ts'
import { systemDisk, type Disk } from '../../../core/os/disk.ts'
import { MeshError } from '../../../core/errors.ts'
import { describeNode, hasWorkloadEntry, type NodeDescription } from '../../../control-sync/ads/node.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const SAMPLES = path.join(import.meta.dirname, '../../golden/istio-folder')
const sample = (name: string): string => path.join(SAMPLES, name)
type Read = ReturnType<typeof readConfig>
const read = (source: ConfigSource, env: Record<string, string> = {}, disk: Disk = systemDisk): Read =>
  readConfig(source, disk, env)
const nodeOf = ({ config }: Read): NodeDescription =>
  describeNode(readNodeSettings(config, { version: '1', hostName: 'box-7', ip: '192.0.2.9' }))

/** The sample with some files replaced or, where the text is undefined, taken away. */
function changed(name: string, files: Record<string, string | undefined>): { istio: string; disk: Disk } {
  return {
    istio: sample(name),
    disk: {
      ...systemDisk,
      read: (file) =>
        path.basename(file) in files
          ? files[path.basename(file)] === undefined
            ? undefined
            : Buffer.from(files[path.basename(file)]!)
          : systemDisk.read(file),
    },
  }
}
const mistakes = (fn: () => unknown): string => {
  try {
    fn()
  } catch (thrown) {
    assert.ok(thrown instanceof MeshError && thrown.code === 'MESH_CONFIG_INVALID', String(thrown))
    return thrown.message.replaceAll(`${SAMPLES}/`, '')
  }
  return assert.fail('it was accepted')
}

test("istioctl's files for a machine that registers itself: where to, as whom, with what", () => {
  const got = read({ istio: sample('auto-registered') })
  const { config } = got
  const folder = sample('auto-registered')
  const { control } = config
  assert.deepEqual(
    [control?.address, control?.serverName, control?.roots, control?.token],
    [['203.0.113.7:15012'], 'istiod.istio-system.svc', `${folder}/root-cert.pem`, `${folder}/istio-token`],
  )
  assert.deepEqual(config.listeners, [
    { name: 'http-proxy', kind: 'http_proxy', address: '127.0.0.1', port: 3128, routes: 'http_proxy' },
  ])
  assert.equal(config.dns?.port, 15_053, 'istioctl captures DNS unless it is told otherwise')
  assert.deepEqual(
    [config.admin.port, config.capture, config.limits.drainMs, config.state],
    [15_000, 'explicit', 7_000, '/var/lib/meshlet'],
  )
  assert.deepEqual(config.readinessProbe, {
    initialDelaySeconds: 5,
    timeoutSeconds: 3,
    periodSeconds: 15,
    successThreshold: 1,
    failureThreshold: 3,
    httpGet: { path: '/healthz', port: 8080, scheme: 'HTTP', httpHeaders: [{ name: 'X-Probe', value: '1' }] },
  })
})

test("istioctl's files for a machine that registers itself: what istiod is told of the node", () => {
  const got = read({ istio: sample('auto-registered') })
  const node = nodeOf(got)
  assert.equal(node.id, 'sidecar~198.51.100.20~box-7.edge~edge.svc.cluster.local')
  const { PROXY_CONFIG: proxyConfig, LABELS: labels, ...flat } = node.metadata
  assert.deepEqual(flat, {
    NAME: 'box-7',
    NAMESPACE: 'edge',
    WORKLOAD_NAME: 'gw',
    SERVICE_ACCOUNT: 'gateway',
    INSTANCE_IPS: '198.51.100.20',
    CLUSTER_ID: 'Kubernetes',
    NETWORK: 'site-1',
    MESH_ID: 'mesh-1',
    ISTIO_VERSION: '1.30.0',
    INTERCEPTION_MODE: 'NONE',
    DNS_CAPTURE: 'true',
    DNS_AUTO_ALLOCATE: 'true',
    HTTP_PROXY_PORT: '3128',
    AUTO_REGISTER_GROUP: 'gw',
    TRUST_DOMAIN: 'mesh.example.org',
    STATIC_LABELS: labels,
    POD_PORTS:
      '[{"name":"http","containerPort":8080,"protocol":""},{"name":"mqtt","containerPort":1883,"protocol":""}]',
    // Istio's agent repeats the labels at the root.
    app: 'gw',
    'service.istio.io/canonical-name': 'gw',
    'service.istio.io/canonical-revision': 'v2',
    tier: 'edge',
    version: 'v2',
  })
  assert.deepEqual(labels, {
    app: 'gw',
    'service.istio.io/canonical-name': 'gw',
    'service.istio.io/canonical-revision': 'v2',
    tier: 'edge',
    version: 'v2',
  })
  assert.deepEqual(
    [(proxyConfig as Record<string, unknown>)['meshId'], (proxyConfig as Record<string, unknown>)['readinessProbe']],
    ['mesh-1', got.config.readinessProbe],
  )
  assert.equal(hasWorkloadEntry(node), true)
})

test('what Istio has and meshlet does nothing with is listed with its line, and is no mistake', () => {
  const places = read({ istio: sample('auto-registered') }).ignored.map((p) =>
    p.replace(`${sample('auto-registered')}/`, ''),
  )
  assert.deepEqual(places, [
    'cluster.env:3: ISTIO_INBOUND_PORTS',
    'cluster.env:4: ISTIO_LOCAL_EXCLUDE_PORTS',
    'cluster.env:15: ISTIO_SERVICE',
    'cluster.env:16: ISTIO_SERVICE_CIDR',
    'cluster.env:19: REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION',
    'cluster.env:21: SITE_NOTE',
    'mesh.yaml:32: defaultConfig.statusPort',
    'mesh.yaml:34: defaultConfig.tracing',
  ])
})

test('a revision over IPv6: the address in brackets, the name of the revision in the certificate', () => {
  const { config } = read({ istio: sample('revision-ipv6') })
  assert.deepEqual(
    [config.control?.address, config.control?.serverName],
    [['[fd00:10:96::2]:15012'], 'istiod-canary.istio-system.svc'],
  )
  assert.deepEqual(
    [config.node.namespace, config.node.serviceAccount, config.node.ip, config.node.clusterId],
    ['far-edge', 'sensors', 'fd00:77::17', 'cluster-2'],
  )
  assert.equal(config.dns, undefined)
  assert.deepEqual(
    [config.node.meshId, config.node.network],
    ['cluster.local', ''],
    'what istioctl leaves empty has its default',
  )
  assert.deepEqual(config.readinessProbe?.exec, { command: ['/usr/local/bin/check', '--quick'] })
})

test("an empty hosts file and no discoveryAddress: Istio's own name, found by DNS", () => {
  const got = read({ istio: sample('plain') })
  assert.deepEqual(
    [got.config.control?.address, got.config.control?.serverName],
    [['istiod.istio-system.svc:15012'], undefined],
  )
  assert.deepEqual(got.config.readinessProbe?.grpc, { port: 9000, service: 'pump.v1.Pump' })
  assert.deepEqual(
    [got.config.listeners[0]?.port, nodeOf(got).id],
    [15_080, 'sidecar~192.0.2.9~box-7.plant~plant.svc.cluster.local'],
  )
  assert.equal(hasWorkloadEntry(nodeOf(got)), false)
})

test("agent.yaml overrides Istio's files, the environment overrides both", (t) => {
  const folder = temporaryFolder(t)
  const file = `${folder}/agent.yaml`
  fs.writeFileSync(
    file,
    'node: {network: by-file, ip: 10.1.2.3}\nlisteners: []\nadmin: {port: 15999}\nreadinessProbe: {httpGet: {port: 81}}\n',
  )
  const got = read(
    { istio: sample('auto-registered'), config: file },
    {
      ISTIO_META_NETWORK: 'by-environment',
      ISTIO_META_INTERCEPTION_MODE: 'REDIRECT',
      ISTIO_METAJSON_ANNOTATIONS: '{"a/b": "c"}',
      HOME: '/',
    },
  )
  const { metadata } = nodeOf(got)
  assert.deepEqual(
    [
      metadata['NETWORK'],
      metadata['INSTANCE_IPS'],
      metadata['INTERCEPTION_MODE'],
      metadata['ANNOTATIONS'],
      metadata['a/b'],
    ],
    ['by-environment', '10.1.2.3', 'REDIRECT', { 'a/b': 'c' }, 'c'],
  )
  assert.deepEqual(
    [
      got.config.admin.port,
      got.config.readinessProbe?.httpGet?.port,
      got.config.readinessProbe?.periodSeconds,
      got.config.node.namespace,
    ],
    [15_999, 81, 15, 'edge'],
  )
  assert.equal('HTTP_PROXY_PORT' in metadata, false, 'no listener, no port: it doubles the routes')
})

for (const { name, files, want } of [
  {
    name: 'a setting that is wrong',
    files: { 'cluster.env': "POD_NAMESPACE='edge'\nISTIO_SVC_IP='no-address'\n" },
    want: /auto-registered\/cluster\.env:2: node\.ip: /,
  },
  {
    name: 'JSON that is none',
    files: { 'cluster.env': "ISTIO_METAJSON_LABELS='{app: gw}'\n" },
    want: /cluster\.env:1: ISTIO_METAJSON_LABELS: is no JSON: "\{app: gw\}"/,
  },
  {
    name: 'labels that are none',
    files: { 'cluster.env': '\n\nISTIO_METAJSON_LABELS=\'{"n": 1}\'\n' },
    want: /cluster\.env:3: node\.labels\.n: /,
  },
  {
    name: 'a line that is no assignment',
    files: { 'cluster.env': 'A=1\nif true\n' },
    want: /cluster\.env:2: is no assignment/,
  },
  {
    name: 'an interception mode that is none',
    files: { 'cluster.env': 'ISTIO_META_INTERCEPTION_MODE=SOME\n' },
    want: /cluster\.env:1: ISTIO_META_INTERCEPTION_MODE: must be NONE, REDIRECT or TPROXY/,
  },
  {
    name: 'a port that is none',
    files: { 'cluster.env': 'ISTIO_META_HTTP_PROXY_PORT=http\n' },
    want: /cluster\.env:1: listeners\[0\]\.port: /,
  },
  {
    name: 'mesh.yaml that does not parse',
    files: { 'mesh.yaml': 'defaultConfig:\n  a: [1\n' },
    want: /mesh\.yaml:3: /,
  },
  {
    name: 'a probe of two kinds',
    files: { 'mesh.yaml': 'defaultConfig:\n  readinessProbe:\n    tcpSocket: {port: 1}\n    httpGet: {port: 1}\n' },
    want: /mesh\.yaml:2: readinessProbe: has more than one/,
  },
  {
    name: 'a probe port that is none',
    files: { 'mesh.yaml': 'defaultConfig:\n  readinessProbe:\n    tcpSocket:\n      port: 99999\n' },
    want: /mesh\.yaml:4: readinessProbe\.tcpSocket\.port: /,
  },
  {
    name: 'a discovery address without a port',
    files: { 'mesh.yaml': 'defaultConfig:\n  discoveryAddress: istiod\n', hosts: '' },
    want: /mesh\.yaml:2: control\.address: must be HOST:PORT/,
  },
  {
    name: 'no mesh.yaml',
    files: { 'mesh.yaml': undefined },
    want: /there is no file auto-registered\/mesh\.yaml; istioctl/,
  },
]) {
  test(`a mistake names file and line: ${name}`, () => {
    const { istio, disk } = changed('auto-registered', files)
    assert.match(
      mistakes(() => read({ istio }, {}, disk)),
      want,
    )
  })
}

test('a mistake in the environment names the variable', () => {
  assert.match(
    mistakes(() => read({ istio: sample('plain') }, { ISTIO_METAJSON_X: '{' })),
    /the environment: ISTIO_METAJSON_X: is no JSON: "\{"/,
  )
  assert.match(
    mistakes(() => read({ istio: sample('plain') }, { ISTIO_META_INSTANCE_IPS: 'x,y' })),
    /the environment, ISTIO_META_INSTANCE_IPS: node\.ip: /,
  )
})

test('settings that a newer Istio may add to a probe are listed, not refused', () => {
  const { istio, disk } = changed('plain', {
    'mesh.yaml':
      'defaultConfig:\n  interceptionMode: TPROXY\n  readinessProbe:\n    grpc: {port: 1, deadline: 3}\n    grace: 1\n',
  })
  const { config, ignored } = read({ istio }, {}, disk)
  assert.deepEqual(
    ignored.filter((p) => p.includes('mesh.yaml')).map((p) => p.replace(/.*mesh/, 'mesh')),
    [
      'mesh.yaml:2: defaultConfig.interceptionMode (docs/istio.md: capture: transparent in agent.yaml)',
      'mesh.yaml:4: defaultConfig.readinessProbe.grpc.deadline',
      'mesh.yaml:5: defaultConfig.readinessProbe.grace',
    ],
  )
  assert.equal(config.capture, 'explicit')
})

test("the HTTP proxy can be left out, the certificate's life asked for, another name expected of istiod", () => {
  const { istio, disk } = changed('plain', {
    'cluster.env': "ISTIO_META_HTTP_PROXY_PORT=''\nSECRET_TTL=72h30m\nISTIOD_SAN=istiod.example\nTRUST_DOMAIN=''\n",
    hosts: '192.0.2.1 a istiod.istio-system.svc # c\n192.0.2.2 ISTIOD.istio-system.svc\n',
  })
  const { config } = read({ istio }, {}, disk)
  assert.deepEqual(config.listeners, [])
  assert.deepEqual(
    [config.control?.certificateTtlSec, config.control?.serverName, config.control?.address],
    [261_000, 'istiod.example', ['192.0.2.1:15012', '192.0.2.2:15012']],
  )
  assert.equal(config.node.metadata['TRUST_DOMAIN'], 'cluster.local')
})

test("ISTIO_AGENT_FLAGS=router, the role of Istio's agent: a gateway, without an HTTP proxy of its own", () => {
  const env = fs.readFileSync(path.join(sample('plain'), 'cluster.env'), 'utf8')
  const as = (flags: string): Read => {
    const { istio, disk } = changed('plain', { 'cluster.env': `${env}\nISTIO_AGENT_FLAGS=${flags}\n` })
    return read({ istio }, {}, disk)
  }
  const router = as('router')
  assert.deepEqual([router.config.node.type, router.config.listeners], ['router', []])
  assert.match(nodeOf(router).id, /^router~/)
  const other = as('--proxyLogLevel=debug')
  assert.equal(other.config.node.type, 'sidecar')
  assert.match(other.ignored.join('\n'), /ISTIO_AGENT_FLAGS/)
})

function readWith(line: string): Read {
  const before = fs.readFileSync(path.join(sample('plain'), 'cluster.env'), 'utf8')
  const { istio, disk } = changed('plain', { 'cluster.env': `${before}\n${line}\n` })
  return read({ istio }, {}, disk)
}

for (const [what, line, ports, applications] of [
  [
    'as pilot-agent gets it',
    `ISTIO_PROMETHEUS_ANNOTATIONS='{"scrape":"true","port":"9090","path":"/stats"}'`,
    [15_020],
    [{ port: 9090, path: '/stats' }],
  ],
  [
    'an empty path',
    `ISTIO_PROMETHEUS_ANNOTATIONS='{"scrape":"true","port":"9090","path":""}'`,
    [15_020],
    [{ port: 9090, path: '/metrics' }],
  ],
  ['not to be scraped', `ISTIO_PROMETHEUS_ANNOTATIONS='{"scrape":"false","port":"9090"}'`, [], []],
  ['our own port', `ISTIO_PROMETHEUS_ANNOTATIONS='{"port":"15020"}'`, [15_020], []],
  [
    'as annotations of the node',
    `ISTIO_METAJSON_ANNOTATIONS='{"prometheus.io/port":"9091","prometheus.io/path":"/m"}'`,
    [15_020],
    [{ port: 9091, path: '/m' }],
  ],
  ['other annotations', `ISTIO_METAJSON_ANNOTATIONS='{"a/b":"c"}'`, [], []],
] as const)
  test(`prometheus.io annotations: ${what}`, () => {
    const { config, ignored } = readWith(line)
    assert.deepEqual([config.telemetry.ports, config.telemetry.applications], [ports, applications])
    assert.ok(!ignored.some((one) => one.includes('ANNOTATIONS')))
  })

for (const [line, problem] of [
  ["ISTIO_PROMETHEUS_ANNOTATIONS='port: 1'", /cluster\.env:\d+: ISTIO_PROMETHEUS_ANNOTATIONS.*is no JSON/],
  ["ISTIO_PROMETHEUS_ANNOTATIONS='[]'", /must be an object/],
  [`ISTIO_PROMETHEUS_ANNOTATIONS='{"port":"http"}'`, /port must be one, not "http"/],
] as const)
  test(`prometheus.io annotations that say nothing: ${line}`, () => {
    assert.match(
      mistakes(() => readWith(line)),
      problem,
    )
  })
