import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { formatProblem } from '../../../../hub/istio/config.ts'
import { isIstioYaml, readConfigs } from '../../../../hub/istio/read/read-configs.ts'

const told = (text: string): string[] => readConfigs({ name: 'a.yaml', text }).problems.map(formatProblem)

const HEAD = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: orders
  namespace: shop
`

const MISTAKES: readonly { readonly name: string; readonly text: string; readonly says: readonly RegExp[] }[] = [
  {
    name: 'a field that Istio does not have, with the one that is meant',
    text: `${HEAD}spec:\n  hosts: [a.example.com]\n  resolution: NONE\n  endpoint: []\n`,
    says: [/^a\.yaml:9:3: ServiceEntry shop\/orders, spec\.endpoint: is no field that is known here.*endpoints/],
  },
  {
    name: 'a field of a port',
    text: `${HEAD}spec:\n  hosts: [a.example.com]\n  ports:\n  - number: 80\n    name: http\n    protocl: HTTP\n`,
    says: [/^a\.yaml:11:5: .*spec\.ports\[0\]\.protocl: is no field.*protocol/],
  },
  {
    name: 'a kind that is not covered',
    text: 'apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: ns}\nspec: {}\n',
    says: [/^a\.yaml:2:1: Gateway ns\/g, kind: Gateway is not covered/],
  },
  {
    name: 'the Gateway API',
    text: 'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: g, namespace: ns}\nspec: {}\n',
    says: [/HTTPRoute is not covered/],
  },
  {
    name: 'another group',
    text: 'apiVersion: security.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: g, namespace: ns}\nspec: {hosts: [a.b]}\n',
    says: [/^a\.yaml:1:1: .*apiVersion: must be networking\.istio\.io\/v1/],
  },
  {
    name: 'no namespace',
    text: 'apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: g}\nspec: {hosts: [a.b]}\n',
    says: [/^a\.yaml:3:1: ServiceEntry g, metadata\.namespace: is missing/],
  },
  {
    name: 'a field that is known and not covered',
    text: 'apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: g, namespace: ns}\nspec:\n  host: a.b\n  trafficPolicy:\n    tls: {mode: SIMPLE, credentialName: secret}\n',
    says: [/^a\.yaml:7:25: .*credentialName: is not covered: a Secret of Kubernetes/],
  },
  {
    name: 'several in several documents',
    text: `${HEAD}spec: {hosts: ["*"]}\n---\n${HEAD}spec:\n  hosts: [b.example.com]\n  addresses: [10.0.0.0/8]\n  resolution: DNS\n`,
    says: [/^a\.yaml:6:\d+: .*hosts\[0\]: cannot be the wildcard/, /^a\.yaml:15:\d+: .*addresses\[0\]: a CIDR needs/],
  },
  {
    name: 'YAML that is none',
    text: `${HEAD}spec: {hosts: [a.b\n`,
    says: [/^a\.yaml:7:1: .*\]/, /^a\.yaml:7:1: .*\}/],
  },
  {
    name: 'a key that stands twice',
    text: `${HEAD}spec:\n  hosts: [a.b]\n  hosts: [c.d]\n`,
    says: [/^a\.yaml:8:3: .*unique/],
  },
  {
    name: 'a filter that Envoy does not have',
    text: `apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: mqtt, namespace: edge}
spec:
  configPatches:
  - applyTo: NETWORK_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.tcp_proxy}}}}
    patch:
      operation: REPLACE
      value: {name: x, typed_confg: {}}
`,
    says: [/^a\.yaml:10:24: EnvoyFilter edge\/mqtt, spec\.configPatches\[0\]\.patch\.value.*typed_confg/],
  },
]

await suite('Istio YAML with mistakes is refused by name, line and column', async () => {
  for (const { name, text, says } of MISTAKES)
    await test(name, () => {
      const problems = told(text)
      assert.equal(problems.length, says.length, problems.join('\n'))
      for (const [i, one] of says.entries()) assert.match(problems[i]!, one)
    })

  await test('what a mistake stands beside is read all the same', () => {
    const read = readConfigs({ name: 'a.yaml', text: `${HEAD}spec: {hosts: [a.b]}\n---\nkind: Pod\n` })
    assert.deepEqual([read.configs.length, read.problems.length], [1, 1])
  })

  await test('what kubectl writes is read: managedFields, status, creationTimestamp', () => {
    const text = `${HEAD}  creationTimestamp: 2024-05-06T07:08:09Z\n  uid: x\n  managedFields: [{a: b}]\nspec: {hosts: [a.b]}\nstatus: {}\n`
    const read = readConfigs({ name: 'a.yaml', text })
    assert.deepEqual(read.problems.map(formatProblem), [])
    assert.equal(read.configs[0]!.createdMs, Date.UTC(2024, 4, 6, 7, 8, 9))
  })

  await test('an alias that stands for gigabytes is a mistake', () => {
    const rows = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(', ')}]`)
    assert.match(told(`kind: ServiceEntry\na0: &a0 x\n${rows.join('\n')}\n`)[0]!, /alias/i)
  })
})

await suite('Which files are Istio YAML', async () => {
  const cases = [
    ['a.yaml', 'kind: ServiceEntry\n', true],
    ['a.yml', '# x\n---\napiVersion: v1\n', true],
    ['a.yaml', 'resources:\n- "@type": x\n', false],
    ['a.json', 'kind: ServiceEntry\n', false],
  ] as const
  for (const [name, text, expected] of cases)
    await test(`${name}: ${JSON.stringify(text)}`, () => assert.equal(isIstioYaml({ name, text }), expected))
})
