/** Keys that nodes fetch themselves: what comes out of the YAML is what an agent acts upon. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { describeNode } from '../../../../control-sync/ads/node.ts'
import { compileFolder, formatProblem } from '../../../../hub/istio/compile-folder.ts'
import { readIstioNode } from '../../../../hub/istio/node.ts'
import { isRemote, type JwtProvider } from '../../../../model/http/jwt.ts'
import { NODE, object, ORDERS, OWN } from '../cases/case.ts'

const rule = (text: string): string =>
  OWN + ORDERS + object('RequestAuthentication', 'edge', 'jwt', `jwtRules: [${text}]`)
const compile = (yaml: string) => compileFolder([{ name: 'a.yaml', text: yaml }])

/** As an agent has them, with the names of the clusters that it is sent. */
function decodeProviders(yaml: string): { readonly providers: readonly JwtProvider[]; readonly clusters: Set<string> } {
  const made = compile(yaml)
  assert.ok(made.ok, made.ok ? '' : made.problems.map(formatProblem).join('\n'))
  const { id, metadata, locality } = describeNode(NODE)
  const resources = made.compile(readIstioNode({ id, metadata, locality }, NODE.namespace))
  const inbound = resources.find(({ kind, name }) => kind === 'listener' && name === 'virtualInbound')!
  const decoded = decode('listener', inbound.value)
  assert.ok(decoded.ok)
  assert.deepEqual(decoded.blocked, [])
  const filters = decoded.value.filterChains.flatMap(({ codec }) => (codec.kind === 'http' ? codec.http.filters : []))
  const providers = filters.flatMap((filter) => (filter.kind === 'jwt' ? filter.jwt.providers : []))
  return { providers, clusters: new Set(resources.filter((r) => r.kind === 'cluster').map((r) => r.name)) }
}

await suite('jwksUri', async () => {
  for (const field of ['jwksUri', 'jwks_uri'])
    await test(`${field} becomes keys that an agent fetches through the cluster of the host`, () => {
      const uri = 'http://orders.shop.svc.cluster.local/keys?x=1'
      const { providers, clusters } = decodeProviders(rule(`{issuer: "https://a", ${field}: "${uri}", timeout: 2s}`))
      assert.ok(providers.length > 0)
      for (const { issuer, jwks } of providers) {
        assert.equal(issuer, 'https://a')
        assert.ok(isRemote(jwks))
        assert.ok(clusters.has(jwks.cluster), jwks.cluster)
        assert.deepEqual(
          [jwks.scheme, jwks.authority, jwks.path, jwks.timeoutMs, jwks.refreshMs],
          ['http', 'orders.shop.svc.cluster.local', '/keys?x=1', 2_000, 300_000],
        )
      }
    })

  for (const [name, uri, cluster] of [
    ['https', 'https://id.example.com/keys', 'outbound|443||id.example.com'],
    ['a port', 'https://id.example.com:8443', 'outbound|8443||id.example.com'],
    ['an address of IPv6', 'http://[2001:db8::1]:80/', 'outbound|80||2001:db8::1'],
    ['a fragment', 'HTTP://id/#x', 'outbound|80||id'],
  ] as const)
    await test(`the cluster of ${name}`, () => {
      const [provider] = decodeProviders(rule(`{jwksUri: "${uri}"}`)).providers
      assert.ok(provider && isRemote(provider.jwks))
      assert.equal(provider.jwks.cluster, cluster)
    })

  for (const [name, text, says] of [
    ['another scheme', '{issuer: a, jwksUri: "ftp://a/keys"}', /jwksUri: must be an address as https:/],
    ['no host', '{issuer: a, jwksUri: "https:///keys"}', /jwksUri: must be an address/],
    ['port 0', '{issuer: a, jwksUri: "https://a:0/keys"}', /jwksUri: must be an address/],
    ['port 65536', '{issuer: a, jwksUri: "https://a:65536/keys"}', /jwksUri: must be an address/],
    ['a password', '{issuer: a, jwksUri: "https://me:secret@a/keys"}', /jwksUri: must be an address/],
    ['the end of a request line', String.raw`{issuer: a, jwksUri: "https://a/keys\r\nx: y"}`, /jwksUri: must be/],
    ['no keys at all', '{issuer: a}', /jwks: is missing, and so is jwksUri/],
    ['keys without an issuer', `{jwks: '{"keys":[]}'}`, /issuer: is missing/],
    ['one field by both names', '{issuer: a, jwksUri: "http://a", jwks_uri: "http://a"}', /jwks_uri: is jwksUri/],
    ['an audience of nothing', '{issuer: a, jwksUri: "http://a", audiences: [""]}', /audiences\[0\]/],
  ] as const)
    await test(`refused by name and line: ${name}`, () => {
      const made = compile(rule(text))
      assert.ok(!made.ok)
      assert.match(made.problems.map(formatProblem).join('\n'), says)
      assert.match(
        formatProblem(made.problems[0]!),
        /^a\.yaml:\d+:\d+: RequestAuthentication edge\/jwt, spec\.jwtRules\[0\]/,
      )
    })
})
