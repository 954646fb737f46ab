/**
 * The same name table, the same resolver and the same questions for the DNS server of Istio's agent and for meshlet's.
 * What differs is listed, with why; everything else has to be equal.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { freePorts } from '../../../../tools/free-ports.ts'
import { findDebianProgram } from '../../../../tools/debian.ts'
import { run, start, temporaryFolder } from '../../programs.ts'
import { Agent, directoryMode, writeResources } from '../../package/shipped.ts'
import { unbound } from '../../unbound.ts'
import { istioBinaries } from '../rig/binaries.ts'

const service = (shortname: string, namespace: string, ...ips: string[]): object => ({
  ips,
  registry: 'Kubernetes',
  shortname,
  namespace,
})
const external = (...ips: string[]): object => ({ ips, registry: 'External' })
const TABLE = {
  'www.google.com': external('1.1.1.1'),
  'dual.example.com': external('240.240.0.5', '2001:2::5'),
  '*.wild.mesh': external('240.240.0.9'),
  '*.b.wild.mesh': external('240.240.0.10', '2001:2::10'),
  'orders.edge.svc.cluster.local': service('orders', 'edge', '240.240.0.7', 'fd00::7'),
  'v4.other.svc.cluster.local': service('v4', 'other', '10.96.0.4'),
  'v6.other.svc.cluster.local': service('v6', 'other', 'fd00::6'),
  'details.ns2.svc.cluster.remote': service('details', 'ns2', '11.11.11.11'),
  'mysql-0.mysql.edge.svc.cluster.local': service('mysql-0.mysql', 'edge', '10.0.0.1'),
  'many.edge.svc.cluster.local': service('many', 'edge', ...Array.from({ length: 80 }, (_, i) => `10.9.0.${i}`)),
  'broken.edge.svc.cluster.local': service('broken', 'edge', 'nonsense'),
}
/** Of the uplink: everything that the table may hide. */
const ZONE = [
  '. 60 SOA ns. admin. 1 1 1 1 60',
  'www.google.com. 60 A 192.0.2.80',
  'www.google.com. 60 MX 10 mail.google.com.',
  'www.google.com. 60 HTTPS 1 . ipv4hint=192.0.2.80',
  '_mqtt._tcp.wild.mesh. 60 SRV 0 5 8883 broker.wild.mesh.',
  'plain.example.org. 60 A 192.0.2.1',
  'alias.example.org. 60 CNAME plain.example.org.',
  'broken.edge.svc.cluster.local. 60 A 192.0.2.2',
  '9.2.0.192.in-addr.arpa. 60 PTR nine.example.org.',
  ...Array.from({ length: 60 }, (_, i) => `large.example.org. 60 A 10.20.0.${i}`),
]
const ADDRESSES = ['A', 'AAAA'],
  OTHERS = ['MX', 'TXT', 'SRV', 'CNAME', 'HTTPS']
const NAMES = [
  'orders.edge.svc.cluster.local',
  'orders',
  'orders.edge',
  'orders.edge.svc',
  'ORDERS.Edge',
  'orders.lan',
  'orders.edge.lan',
  'orders.edge.svc.cluster.local.lan',
  'v4',
  'v4.other',
  'v4.other.svc',
  'v6.other.svc.cluster.local',
  'v6.other.lan',
  'details',
  'details.ns2',
  'details.ns2.svc.cluster.remote',
  'mysql-0.mysql',
  'mysql-0.mysql.edge',
  'broken',
  'broken.edge.svc.cluster.local',
  'www.google.com',
  'www.google.com.lan',
  'google.com',
  'dual.example.com',
  'x.dual.example.com',
  'a.wild.mesh',
  'a.b.wild.mesh',
  'a.a.b.wild.mesh',
  'b.wild.mesh',
  'wild.mesh',
  'a.wild.mesh.lan',
  '_mqtt._tcp.wild.mesh',
  'plain.example.org',
  'alias.example.org',
  'none.example.org',
  'lan',
  'orders.corp.test',
  'large.example.org',
  'many',
]

type Facts = { readonly status: string; readonly records: readonly string[] }
/** Name and type → why meshlet says something else. */
function differs(name: string, type: string): string | undefined {
  const isTables = /^(orders|v4|v6|mysql-0|many)\b/.test(name) || name === 'details.ns2.svc.cluster.remote'
  const isHosts = /^(www\.google\.com|dual\.example\.com|.*\.wild\.mesh(\.lan)?|www\.google\.com\.lan)$/.test(name)
  if (name === 'orders.corp.test') return 'Istio looks behind the first search domain only'
  if (name === 'a.wild.mesh.lan' && ADDRESSES.includes(type))
    return 'Istio names the wildcard as the alias, which no client can ask for'
  if (OTHERS.includes(type) && isTables)
    return 'passed on by Istio, to resolvers that deny the whole name; a service has addresses and nothing else'
  if (isHosts && (type === 'HTTPS' || type === 'CNAME')) return 'passed on by Istio; it leads past the mesh'
  if (OTHERS.includes(type) && isHosts) return 'what others deny is no denial of a name that the mesh has'
  return undefined
}

/** Istio's agent and meshlet with the same table and the same resolver. */
async function startRig(t: TestContext) {
  const [istioPort, port] = (await freePorts(2)) as [number, number]
  const upstream = '127.71.4.1'
  await unbound(t, { address: upstream, port: 53, zone: ZONE, zones: ['"." static'] })
  await startIstio(t, istioPort, `nameserver ${upstream}\nsearch lan corp.test\n`)
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `dns: {port: ${port}, upstreams: [${upstream}], search: [lan, corp.test]}\n`,
    ).replace('{name: conformance}', '{name: conformance, namespace: edge}'),
  )
  writeResources(agent.folder, [{ '@type': 'type.googleapis.com/istio.networking.nds.v1.NameTable', table: TABLE }])
  await agent.start()

  // dig sets SO_REUSEPORT, so two of one user may have the same port, and the answer to one reaches the other: each has
  // an address of its own.
  let asked = 0
  const ask = async (
    at: number,
    ...args: string[]
  ): Promise<Facts & { readonly flags: string; readonly ttls: readonly number[] }> => {
    const { out, code } = await run(findDebianProgram('dig'), [
      '@127.0.0.1',
      '-b',
      ownAddress(asked++),
      '-p',
      String(at),
      '+tries=1',
      '+timeout=5',
      '+noedns',
      ...args,
    ])
    assert.equal(code, 0, out)
    const records = [...out.matchAll(/^([^;\s]\S*)\s+(\d+)\s+IN\s+(\S+)\s+(.+)$/gm)].filter((m) => m[3] !== 'SOA')
    return {
      // Names are compared without regard to case (RFC 4343): Istio's answers have them in small letters.
      status: /status: (\w+)/.exec(out)![1]!,
      flags: /flags: ([a-z ]+);/.exec(out)![1]!,
      ttls: records.map((m) => Number(m[2])),
      records: records.map((m) => `${m[1]!.toLowerCase()} ${m[3]} ${m[4]!.toLowerCase()}`).toSorted(),
    }
  }
  return { istioPort, port, ask }
}
type Rig = Awaited<ReturnType<typeof startRig>>

test("the same answers as Istio's agent", { timeout: 300_000 }, async (t) => {
  const rig = await startRig(t)
  const different = await compareAll(rig)
  // Each is really one, or it does not belong here.
  assert.equal(different.size, 5, [...different.keys()].join('\n'))
  for (const [why, cases] of different) t.diagnostic(`${why}: ${cases.length} answers, e.g. ${cases[0]}`)

  await truncationAndReverse(t, rig)
})

/** Where the answers differ, by the reason. Where there is none they must not. */
async function compareAll({ istioPort, port, ask }: Rig): Promise<Map<string, string[]>> {
  const different = new Map<string, string[]>()
  for (const over of ['+notcp', '+tcp']) {
    for (const name of NAMES) {
      for (const type of [...ADDRESSES, ...OTHERS]) {
        const [istio, ours] = await Promise.all([ask(istioPort, over, name, type), ask(port, over, name, type)])
        const why = differs(name.toLowerCase(), type)
        const [left, right] = [istio, ours].map(({ status, records }): Facts => ({ status, records }))
        if (why === undefined) assert.deepEqual(right, left, `${name} ${type} ${over}`)
        else if (JSON.stringify(left) !== JSON.stringify(right))
          different.set(why, [
            ...(different.get(why) ?? []),
            `${name} ${type}: ${JSON.stringify(left)} ${JSON.stringify(right)}`,
          ])
        // unbound calls its own zone authoritative too; its TTL is 60. That recursion is available, Istio says only of
        // what it passes on.
        if (why === undefined && istio.ttls[0] === 30)
          assert.deepEqual([ours.flags, ours.ttls], [`${istio.flags} ra`, istio.ttls], `${name} ${type}`)
      }
    }
  }
  return different
}

async function truncationAndReverse(t: TestContext, { istioPort, port, ask }: Rig): Promise<void> {
  await t.test('what does not fit is cut by both, and whole over TCP', async () => {
    for (const name of ['many', 'large.example.org']) {
      const [istio, ours] = await Promise.all([ask(istioPort, '+ignore', name, 'A'), ask(port, '+ignore', name, 'A')])
      assert.deepEqual([istio.flags.includes('tc'), ours.flags.includes('tc')], [true, true])
      const [wholeIstio, wholeOurs] = await Promise.all([ask(istioPort, name, 'A'), ask(port, name, 'A')])
      assert.deepEqual(wholeOurs.records, wholeIstio.records)
    }
  })
  await t.test('names of addresses: Istio passes all on', async () => {
    const [istio, ours] = await Promise.all([ask(istioPort, '-x', '240.240.0.7'), ask(port, '-x', '240.240.0.7')])
    assert.deepEqual(
      [istio.status, ours.status, ours.records],
      ['NXDOMAIN', 'NOERROR', ['7.0.240.240.in-addr.arpa. PTR orders.edge.svc.cluster.local.']],
    )
    const [theirs, same] = await Promise.all([ask(istioPort, '-x', '192.0.2.9'), ask(port, '-x', '192.0.2.9')])
    assert.deepEqual([same.status, same.records], [theirs.status, theirs.records])
  })
}

const ownAddress = (n: number): string => `127.72.${Math.floor(n / 250)}.${1 + (n % 250)}`

async function startIstio(t: TestContext, port: number, resolvConf: string): Promise<void> {
  const folder = temporaryFolder(t)
  const file = (name: string, text: string): string => {
    const full = path.join(folder, name)
    fs.writeFileSync(full, text)
    return full
  }
  // It reads /etc/resolv.conf and no other file, so it gets one of its own.
  const process = start(t, '/usr/bin/unshare', [
    '-m',
    'sh',
    '-c',
    'mount --bind "$0" /etc/resolv.conf && exec "$@"',
    file('resolv.conf', resolvConf),
    istioBinaries().istiod,
    '-dns',
    `127.0.0.1:${port}`,
    '-dnsTable',
    file('table.json', JSON.stringify({ table: TABLE })),
  ])
  await process.listening(port)
}
