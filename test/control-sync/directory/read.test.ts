import { after, test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Cluster } from '../../../model/cluster.ts'
import type { RouteConfig } from '../../../model/route.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { formatProblem } from '../../../control-sync/directory/combine.ts'
import { readFolder } from '../../../control-sync/directory/read-folder.ts'
import { writeResources } from '../../../demo/resources.ts'

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-folder-'))
after(() => fs.rmSync(home, { recursive: true, force: true }))
let count = 0
function folder(files: Record<string, string>): string {
  const dir = path.join(home, String(count++))
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true })
    fs.writeFileSync(path.join(dir, name), text)
  }
  fs.mkdirSync(dir, { recursive: true })
  return dir
}
const problems = async (files: Record<string, string>, node?: string): Promise<string[]> =>
  (await readFolder(folder(files), node)).problems.map(formatProblem)
const CLUSTER = 'type.googleapis.com/envoy.config.cluster.v3.Cluster'

test("the demo's resources are read without a problem", async () => {
  const dir = folder({})
  writeResources(dir, { linkHttp: 1, linkMqtt: 2, cloudHttp: 3, orders: 4, plc: 5 })
  for (const node of ['edge', 'cloud'])
    assert.deepEqual((await readFolder(dir, node)).problems.map(formatProblem), [], node)
  const { resources } = await readFolder(dir, 'edge')
  assert.deepEqual(
    [resources.get('cluster')?.size, resources.get('endpoint')?.size, resources.get('route')?.size],
    [3, 2, 1],
  )
  const listener = (await readFolder(dir, 'cloud')).resources.get('listener')?.get('inbound')
  assert.deepEqual([listener?.file, listener?.line], [path.join('cloud', 'policy.yaml'), 3])
})

test('file names that are not absolute begin where the file is that names them, also for whoever reads them later, wherever that is', async () => {
  const reply = (
    name: string,
    more = '',
  ): string => `- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: ${name}
  virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200, body: {filename: texts/a.txt${more}}}}]}]
`
  const dir = folder({
    'shared.yaml': reply('shared'),
    'texts/a.txt': 'of all',
    'n1/own.yaml': reply('own', ', watched_directory: {path: x}'),
    'n1/texts/a.txt': 'of n1',
  })
  const { resources, problems: found } = await readFolder(path.relative('.', dir), 'n1')
  assert.deepEqual(found, [])
  const body = (name: string): unknown => {
    const decoded = decode('route', resources.get('route')!.get(name)!.value, {
      readFile: (file) => (path.isAbsolute(file) ? fs.readFileSync(file, 'utf8') : undefined),
    })
    assert.ok(decoded.ok)
    const { action } = (decoded.value as RouteConfig).virtualHosts[0]!.routes[0]!
    return action.kind === 'direct' ? action.body : action
  }
  assert.deepEqual([body('shared'), body('own')], ['of all', 'of n1'])
})

test('secrets that are files begin there, too: file-root: and file-cert:', async () => {
  const sds = (name: string): string => `{name: "${name}", sds_config: {ads: {}}}`
  const dir = folder({
    'c.yaml': `- "@type": ${CLUSTER}
  name: a
  transport_socket:
    name: tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      common_tls_context: {tls_certificate_sds_secret_configs: [${sds('file-cert:c.pem~keys/k.pem')}], validation_context_sds_secret_config: ${sds('file-root:ca.pem')}}
`,
    'c.pem': 'C',
    'keys/k.pem': 'K',
    'ca.pem': 'R',
  })
  const { resources, problems: found } = await readFolder(dir, undefined)
  assert.deepEqual(found, [])
  const decoded = decode('cluster', resources.get('cluster')!.get('a')!.value, {
    readFile: (file) => (path.isAbsolute(file) ? fs.readFileSync(file, 'utf8') : undefined),
  })
  assert.ok(decoded.ok)
  const { transport } = decoded.value as Cluster
  assert.deepEqual(transport.kind === 'tls' && [transport.tls.certificate, transport.tls.validation?.roots], [
    { from: 'pem', chainPem: 'C', keyPem: 'K' },
    { from: 'pem', rootsPem: 'R' },
  ])
  const system = fs.readFileSync(path.join(dir, 'c.yaml'), 'utf8').replace('file-root:ca.pem', 'file-root:system')
  assert.deepEqual(await problems({ 'c.yaml': system, 'c.pem': 'C', 'keys/k.pem': 'K' }), [])
})

test('three forms: resources, a list, one resource; JSON of a DiscoveryResponse too', async () => {
  const { resources, problems: found } = await readFolder(
    folder({
      'a.yaml': `resources:\n- {"@type": ${CLUSTER}, name: a}\n`,
      'b.yml': `- "@type": ${CLUSTER}\n  name: b\n`,
      'c.yaml': `"@type": ${CLUSTER}\nname: c\n`,
      'd.json': JSON.stringify(
        {
          version_info: '1',
          type_url: CLUSTER,
          resources: [
            { '@type': CLUSTER, name: 'd', connectTimeout: '1s' },
            { name: 'e', version: '2', resource: { '@type': CLUSTER, name: 'e' } },
          ],
        },
        null,
        '\t',
      ),
      'readme.txt': 'no resources',
      '.hidden.yaml': 'x: [',
    }),
    undefined,
  )
  assert.deepEqual(found, [])
  assert.deepEqual([...resources.get('cluster')!.keys()].toSorted(), ['a', 'b', 'c', 'd', 'e'])
})

test("a node's own file wins over a shared one; other nodes' files are not read", async () => {
  const dir = folder({
    'c.yaml': `- {"@type": ${CLUSTER}, name: a, connect_timeout: 1s}\n`,
    'n1/c.yaml': `- {"@type": ${CLUSTER}, name: a, connect_timeout: 2s}\n`,
    'n2/c.yaml': 'broken: [',
  })
  assert.equal((await readFolder(dir, 'n1')).resources.get('cluster')!.get('a')!.file, path.join('n1', 'c.yaml'))
  assert.equal((await readFolder(dir, undefined)).resources.get('cluster')!.get('a')!.file, 'c.yaml')
  assert.deepEqual((await readFolder(dir, 'n1')).problems, [])
})

for (const { name, text, want } of [
  { name: 'broken YAML', text: 'resources:\n- a: [1\n', want: /^f\.yaml line [23]: / },
  {
    name: 'an unknown field',
    text: `resources:\n- "@type": ${CLUSTER}\n  name: a\n  conect_timeout: 1s\n`,
    want: /^f\.yaml line 4: Cluster "a", conect_timeout: unknown field of envoy\.config\.cluster\.v3\.Cluster \(is "connect_timeout" meant\?\)$/,
  },
  {
    name: 'an unknown field deep inside',
    text: `resources:\n- "@type": ${CLUSTER}\n  name: a\n  circuit_breakers:\n    thresholds:\n    - max_requests: 1\n    - {max_request: 1}\n`,
    want: /^f\.yaml line 7: Cluster "a", circuit_breakers\.thresholds\[1\]\.max_request: unknown field/,
  },
  {
    name: 'a value of the wrong type',
    text: `- "@type": ${CLUSTER}\n  name: a\n  connect_timeout: soon\n`,
    want: /^f\.yaml line 3: Cluster "a", connect_timeout: /,
  },
  {
    name: 'an enum value that does not exist',
    text: `- "@type": ${CLUSTER}\n  name: a\n  type: EDSS\n`,
    want: /^f\.yaml line 3: Cluster "a", type: /,
  },
  {
    name: 'an unknown type in an Any',
    text: `- "@type": ${CLUSTER}\n  name: a\n  transport_socket:\n    typed_config: {"@type": type.googleapis.com/acme.X}\n`,
    want: /^f\.yaml line 4: Cluster "a", transport_socket\.typed_config: the transport socket acme\.X is not supported$/,
  },
  {
    name: "a type that is one of Envoy's but for a letter",
    text: `- "@type": ${CLUSTER}\n  name: a\n  transport_socket:\n    typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContex}\n`,
    want: /^f\.yaml line 4: Cluster "a", transport_socket\.typed_config\.@type: envoy\.\S+ is no type of Envoy's \(is "envoy\.extensions\.transport_sockets\.tls\.v3\.UpstreamTlsContext" meant\?\)$/,
  },
  {
    name: 'a field of another message',
    text: `- "@type": ${CLUSTER}\n  name: a\n  route_config: {}\n`,
    want: /^f\.yaml line 3: Cluster "a", route_config: unknown field of envoy\.config\.cluster\.v3\.Cluster$/,
  },
  {
    name: 'a resource type that is none',
    text: '- {"@type": type.googleapis.com/envoy.config.bootstrap.v3.Bootstrap}\n',
    want: /^f\.yaml line 1: .*@type: no resource type/,
  },
  { name: 'no @type', text: '- name: a\n', want: /^f\.yaml line 1: a resource must be an object with "@type"$/ },
  { name: 'something else entirely', text: 'hello: world\n', want: /^f\.yaml line 1: holds no resources/ },
  { name: 'an empty file', text: '', want: /^f\.yaml line 1: holds no resources/ },
  {
    name: "a semantic mistake below a policy's name with brackets",
    text: `- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: l
  address: {socket_address: {address: 127.0.0.1, port_value: 1}}
  filter_chains:
  - filters:
    - name: rbac
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC
        rules:
          policies:
            ns[a]-policy[b]-rule[0]:
              permissions:
              - {any: true}
              - url_path: {path: {prefix: ""}}
              principals: [{any: true}]
`,
    want: /^f\.yaml line 14: Listener "l", .*policies\[ns\[a\]-policy\[b\]-rule\[0\]\]\.permissions\[1\]\.url_path\.path\.prefix: must not be empty$/,
  },
])
  test(`a mistake is named by file, line, resource and field: ${name}`, async () =>
    assert.match((await problems({ 'f.yaml': text })).join('\n'), want))

test('all mistakes of a file are told at once', async () => {
  assert.equal(
    (
      await problems({
        'f.yaml': `- {"@type": ${CLUSTER}, name: a, x: 1, y: 2}\n- {"@type": ${CLUSTER}, name: b, type: Q}\n`,
      })
    ).length,
    3,
  )
})
test('one resource in two files of a folder: the first counts and the second is named', async () => {
  const text = `- {"@type": ${CLUSTER}, name: a}\n`
  assert.match(
    (await problems({ 'a.yaml': text, 'b.yaml': text })).join(),
    /^b\.yaml line 1: cluster "a", name: stands in a\.yaml line 1 already/,
  )
})
test('an alias bomb is refused, not unfolded', async () => {
  const lines = [
    'a0: &a0 [x,x,x,x,x,x,x,x,x]',
    ...Array.from(
      { length: 9 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array.from({ length: 9 }, () => `*a${i}`).join(',')}]`,
    ),
  ]
  assert.match((await problems({ 'f.yaml': lines.join('\n') })).join(), /alias/i)
})
test('a folder that is not there and a node name that leads elsewhere are MESH_CONFIG_INVALID', async () => {
  await assert.rejects(readFolder(path.join(home, 'nowhere'), undefined), { code: 'MESH_CONFIG_INVALID' })
  for (const node of ['..', '../x', 'a/b', ''])
    await assert.rejects(readFolder(folder({}), node), { code: 'MESH_CONFIG_INVALID' }, node)
})
