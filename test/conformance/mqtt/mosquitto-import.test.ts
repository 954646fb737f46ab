/**
 * The same mosquitto.conf under mosquitto and, by `meshlet mqtt import`, under meshlet: mosquitto's clients see the
 * same.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { meshlet } from '../../scenarios/cli.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { TestAgent } from '../../scenarios/site.ts'
import { run, start, temporaryFolder } from '../programs.ts'

const OPEN = 'allow_anonymous true\n'
const USERS = 'allow_anonymous false\npassword_file FOLDER/passwords\n'
const ACL = `${USERS}acl_file FOLDER/acl\n`

/** Files beside mosquitto.conf. */
const ACL_FILE = 'user ann\ntopic readwrite a/#\ntopic read b/#\nuser bob\ntopic write b/#\npattern readwrite own/%c\n'

type Action = { readonly what: string; readonly pub: readonly string[] }
const AS_ANN = ['-u', 'ann', '-P', 'ann-password']
const AS_BOB = ['-u', 'bob', '-P', 'bob-password']
const ACTIONS: readonly Action[] = [
  { what: 'nobody, QoS 0', pub: ['-t', 'a/x', '-m', '1'] },
  { what: 'nobody, QoS 2', pub: ['-t', 'a/x', '-m', '1', '-q', '2'] },
  { what: 'MQTT 5', pub: ['-t', 'a/x', '-m', '1', '-q', '1', '-V', '5'] },
  { what: 'ann', pub: ['-t', 'a/x', '-m', '2', '-q', '1', ...AS_ANN] },
  { what: 'ann with a wrong password', pub: ['-t', 'a/x', '-m', '2', '-u', 'ann', '-P', 'wrong'] },
  { what: 'ann where she only reads', pub: ['-t', 'b/x', '-m', '3', '-q', '1', '-V', '5', ...AS_ANN] },
  { what: 'bob writes what ann reads', pub: ['-t', 'b/x', '-m', '4', '-q', '1', ...AS_BOB] },
  { what: 'bob where he may not write', pub: ['-t', 'c/x', '-m', '4', '-q', '1', ...AS_BOB] },
  { what: 'bob where he may not write, MQTT 5', pub: ['-t', 'c/x', '-m', '4', '-q', '2', '-V', '5', ...AS_BOB] },
  { what: 'a client id of another prefix', pub: ['-t', 'a/x', '-m', '5', '-i', 'stranger', ...AS_ANN] },
  {
    what: 'a client id of its own topic',
    pub: ['-t', 'own/plant-7', '-m', '6', '-q', '1', '-i', 'plant-7', ...AS_ANN],
  },
  { what: 'a large message', pub: ['-t', 'a/x', '-q', '1', '-m', 'x'.repeat(5000), ...AS_ANN] },
  { what: 'a retained message', pub: ['-t', 'a/kept', '-m', '7', '-q', '1', '-r', ...AS_ANN] },
]

const CONFS: Readonly<Record<string, string>> = {
  'the one of Debian, with a listener for this machine': `pid_file /run/mosquitto/mosquitto.pid\npersistence false\nlog_dest stderr\ninclude_dir FOLDER/conf.d\n${OPEN}LISTENER\n`,
  'open to anybody': `${OPEN}LISTENER\n`,
  'users alone': `${USERS}LISTENER\n`,
  'users and anybody': `allow_anonymous true\npassword_file FOLDER/passwords\nLISTENER\n`,
  'users with an acl file': `${ACL}LISTENER\n`,
  'small limits': `${OPEN}max_packet_size 2000\nmax_inflight_messages 1\nmax_keepalive 60\nLISTENER\n`,
  'client ids with a prefix': `${USERS}clientid_prefixes plant-\nLISTENER\n`,
  'per listener': `per_listener_settings true\nLISTENER\n${USERS}`,
  'port and bind_address': `${OPEN}port PORT\nbind_address 127.0.0.1\n`,
  'QoS as it was subscribed': `${OPEN}upgrade_outgoing_qos true\nmax_inflight_bytes 10\nLISTENER\n`,
  'QoS 1 at most': `${OPEN}LISTENER\nmax_qos 1\n`,
  'QoS 0 alone': `${OPEN}LISTENER\nmax_qos 0\n`,
  'nothing retained': `${OPEN}retain_available false\nLISTENER\n`,
  'many options that change nothing': `${OPEN}sys_interval 5\nmax_queued_messages 100\nmax_queued_bytes 0\nset_tcp_nodelay true\npersistent_client_expiration 1d\nLISTENER\nmax_connections -1\n`,
}

/** Of both the exit code, and what a subscriber sees who may see everything. */
async function outcome(port: number, { pub }: Action): Promise<string> {
  const clients = findDebianProgram('mosquittoClients')
  const at = ['-h', '127.0.0.1', '-p', String(port)]
  const { code } = await run(clients, [...at, ...(pub.includes('-i') ? [] : ['-i', 'plant-pub']), ...pub])
  // meshlet says what it is: 2 for an identifier, 4 for a password (MQTT 3.1.1 §3.2.2.3); mosquitto says 5 for all.
  return [2, 4, 5].includes(Number(code)) ? 'refused' : String(code)
}
async function subscribed(port: number, who: readonly string[], topic: string): Promise<string> {
  const clients = findDebianProgram('mosquittoClients').replace(/pub$/, 'sub')
  const { code, out } = await run(clients, [
    ...`-h 127.0.0.1 -p ${port} -i plant-sub -q 1 -W 1 -t ${topic} -F`.split(' '),
    '%t %p %r %q',
    ...who,
  ])
  return `${[2, 4, 5].includes(Number(code)) ? 'refused' : code} ${out}`
}

async function bothOf(t: TestContext, conf: string): Promise<readonly [theirs: number, ours: number]> {
  const ports = (await freePorts(2)) as [number, number]
  const [theirs, ours] = ports.map((port) => {
    const folder = temporaryFolder(t, 0o755)
    fs.mkdirSync(path.join(folder, 'conf.d'))
    fs.writeFileSync(path.join(folder, 'acl'), ACL_FILE)
    fs.writeFileSync(path.join(folder, 'passwords'), 'ann:ann-password\nbob:bob-password\n', { mode: 0o600 })
    execFileSync('mosquitto_passwd', ['-U', path.join(folder, 'passwords')])
    const text = conf
      .replaceAll('FOLDER', folder)
      .replace('LISTENER', `listener ${port} 127.0.0.1`)
      .replace('PORT', String(port))
    fs.writeFileSync(path.join(folder, 'mosquitto.conf'), text)
    return folder
  }) as [string, string]
  fs.writeFileSync(
    path.join(theirs, 'run.conf'),
    `user root\n${fs.readFileSync(path.join(theirs, 'mosquitto.conf'), 'utf8').replace(/^pid_file.*\n/m, '')}`,
  )
  const mosquitto = start(t, findDebianProgram('mosquitto'), ['-c', path.join(theirs, 'run.conf')])
  await mosquitto.listening(ports[0])
  const yaml = path.join(ours, 'agent.yaml')
  const said = await meshlet(['mqtt', 'import', path.join(ours, 'mosquitto.conf'), '-o', yaml])
  assert.equal(said.code, 0, said.err)
  assert.equal((await meshlet(['config', 'check', '-c', yaml])).code, 0)
  const agent = new TestAgent(t, fs.readFileSync(yaml, 'utf8'))
  await agent.start()
  return ports
}

for (const [name, conf] of Object.entries(CONFS))
  test(`${name}: the same answers to the same clients`, { timeout: 120_000 }, async (t) => {
    const [theirs, ours] = await bothOf(t, conf)
    for (const action of ACTIONS) assert.equal(await outcome(ours, action), await outcome(theirs, action), action.what)
    for (const who of [[], AS_ANN, AS_BOB])
      for (const topic of ['a/kept', 'b/x'])
        assert.equal(
          await subscribed(ours, who, topic),
          await subscribed(theirs, who, topic),
          `${who.join(' ')} subscribes to ${topic}`,
        )
  })

for (const allowed of [true, false])
  test(`allow_zero_length_clientid ${allowed}: the same clients come in`, { timeout: 120_000 }, async (t) => {
    const [theirs, ours] = await bothOf(t, `${OPEN}allow_zero_length_clientid ${allowed}\nLISTENER\n`)
    const comesIn = async (port: number, version: string): Promise<boolean> => {
      const args = ['-h', '127.0.0.1', '-p', String(port), '-t', 'a/x', '-m', '1', '-q', '1', '-V', version]
      return (await run(findDebianProgram('mosquittoClients'), args)).code === 0
    }
    for (const version of ['311', '5'])
      assert.deepEqual([await comesIn(theirs, version), await comesIn(ours, version)], [allowed, allowed], version)
  })

for (const queues of [true, false])
  test(`queue_qos0_messages ${queues}: the same waits for a client that is away`, { timeout: 120_000 }, async (t) => {
    const ports = await bothOf(t, `${OPEN}queue_qos0_messages ${queues}\nLISTENER\n`)
    const sub = findDebianProgram('mosquittoClients').replace(/pub$/, 'sub')
    const heard: string[] = []
    for (const port of ports) {
      const session = `-h 127.0.0.1 -p ${port} -i away -c -q 1 -t a/q1 -F`.split(' ')
      const none = `-h 127.0.0.1 -p ${port} -i plain -c -q 0 -t a/# -F`.split(' ')
      for (const one of [session, none]) await run(sub, [...one, '%t', '-E'])
      for (const [topic, qos] of ['a/q1 0', 'a/q1 1', 'a/q0 0', 'a/q1 2', 'a/q0 1'].map((one) => one.split(' ')))
        await run(
          findDebianProgram('mosquittoClients'),
          `-h 127.0.0.1 -p ${port} -t ${topic} -q ${qos} -m ${qos}`.split(' '),
        )
      for (const one of [session, none]) heard.push((await run(sub, [...one, '%t %p %q', '-W', '1'])).out)
    }
    assert.deepEqual(heard.slice(2), heard.slice(0, 2))
    assert.equal(heard[1] === '', !queues)
  })

test('tls_version and ciphers: the same clients come in', { timeout: 120_000 }, async (t) => {
  const folder = temporaryFolder(t, 0o755)
  const ca = testCa()
  const { chainPem, keyPem } = ca.issue('site', 'broker')
  for (const [name, content] of Object.entries({ chain: chainPem, key: keyPem, roots: ca.rootsPem }))
    fs.writeFileSync(path.join(folder, name), content)
  const settings = `certfile ${folder}/chain\nkeyfile ${folder}/key\n`
  const asked: readonly (readonly string[])[] = [
    ['--tls-version', 'tlsv1.3'],
    ['--tls-version', 'tlsv1.2'],
    ['--tls-version', 'tlsv1.2', '--ciphers', 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256'],
  ]
  for (const more of ['tls_version tlsv1.3\n', 'tls_version tlsv1.2\n', 'ciphers ECDHE+AES256\n']) {
    const ports = await bothOf(t, `${OPEN}LISTENER\n${settings}${more}`)
    const [theirs, ours] = await Promise.all(
      ports.map(async (port) => {
        const said: boolean[] = []
        for (const one of asked) {
          const pub = ['-t', 'a/x', '-m', '1', '-q', '1', '--cafile', `${folder}/roots`, '--insecure', ...one]
          said.push((await outcome(port, { what: more, pub })) === '0')
        }
        return said
      }),
    )
    assert.deepEqual(ours, theirs, more)
    assert.ok(theirs!.includes(true), more)
  }
})

test('a bridge of mosquitto.conf carries both ways with its user', { timeout: 120_000 }, async (t) => {
  const [port, upstream] = (await freePorts(2)) as [number, number]
  const folder = temporaryFolder(t, 0o755)
  fs.writeFileSync(path.join(folder, 'passwords'), 'site:s3cret\nann:ann-password\n', { mode: 0o600 })
  execFileSync('mosquitto_passwd', ['-U', path.join(folder, 'passwords')])
  fs.writeFileSync(
    path.join(folder, 'upstream.conf'),
    `user root\nlistener ${upstream} 127.0.0.1\nallow_anonymous false\npassword_file ${folder}/passwords\n`,
  )
  const broker = start(t, findDebianProgram('mosquitto'), ['-c', path.join(folder, 'upstream.conf')])
  await broker.listening(upstream)
  const conf = path.join(folder, 'mosquitto.conf')
  fs.writeFileSync(
    conf,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nconnection cloud\naddress 127.0.0.1:${upstream}\n` +
      `topic # out 1 site/ plant/7/\ntopic # in 1 cloud/ plant/7/down/\nremote_username site\nremote_password s3cret\n`,
  )
  const yaml = path.join(folder, 'out/agent.yaml')
  fs.mkdirSync(path.dirname(yaml))
  const said = await meshlet(['mqtt', 'import', conf, '-o', yaml])
  assert.equal(said.code, 0, said.err)
  const agent = new TestAgent(t, fs.readFileSync(yaml, 'utf8'))
  await agent.start()
  const clients = findDebianProgram('mosquittoClients')
  const hear = (at: number, ...args: readonly string[]) =>
    run(clients.replace(/pub$/, 'sub'), ['-h', '127.0.0.1', '-p', String(at), '-C', '1', '-W', '20', '-v', ...args])
  const say = (at: number, ...args: readonly string[]) =>
    run(clients, ['-h', '127.0.0.1', '-p', String(at), '-q', '1', '-r', ...args])
  await say(port, '-t', 'site/up', '-m', 'from here')
  await say(upstream, '-t', 'plant/7/down/x', '-m', 'from there', ...AS_ANN)
  assert.equal((await hear(upstream, '-t', 'plant/7/up', ...AS_ANN)).out, 'plant/7/up from here\n')
  assert.equal((await hear(port, '-t', 'cloud/x')).out, 'cloud/x from there\n')
})

test(
  'what waits upstream for the bridge of mosquitto comes to meshlet, which has its client id',
  { timeout: 120_000 },
  async (t) => {
    const [port, upstream] = (await freePorts(2)) as [number, number]
    const folder = temporaryFolder(t, 0o755)
    fs.writeFileSync(
      path.join(folder, 'upstream.conf'),
      `user root\nlistener ${upstream} 127.0.0.1\nallow_anonymous true\n`,
    )
    const broker = start(t, findDebianProgram('mosquitto'), ['-v', '-c', path.join(folder, 'upstream.conf')])
    await broker.listening(upstream)
    const conf = path.join(folder, 'mosquitto.conf')
    fs.writeFileSync(
      conf,
      `listener ${port} 127.0.0.1\nallow_anonymous true\nconnection cloud\naddress 127.0.0.1:${upstream}\ntopic cmd/# in 1\n`,
    )
    const edge = start(t, findDebianProgram('mosquitto'), ['-c', conf])
    const id = `${os.hostname()}.cloud`
    await broker.until('the bridge has subscribed', () => broker.log.includes(`Sending SUBACK to ${id}`))
    await edge.stop('SIGTERM')
    const clients = findDebianProgram('mosquittoClients')
    for (let i = 0; i < 5; i++) await run(clients, `-h 127.0.0.1 -p ${upstream} -q 1 -t cmd/${i} -m x`.split(' '))
    assert.doesNotMatch(broker.log, /Sending PUBLISH to \S+ \(d0, q1, r0, m\d+, 'cmd/)
    const yaml = path.join(folder, 'out/agent.yaml')
    fs.mkdirSync(path.dirname(yaml))
    assert.equal((await meshlet(['mqtt', 'import', conf, '-o', yaml])).code, 0)
    await new TestAgent(t, fs.readFileSync(yaml, 'utf8')).start()
    for (let i = 0; i < 5; i++)
      await broker.until(`cmd/${i} is acknowledged`, () =>
        new RegExp(`Sending PUBLISH to ${id} \\(d0, q1, r0, m\\d+, 'cmd/${i}'`).test(broker.log),
      )
  },
)

test(
  'clients behind a prefix, and others beside them, see the same with mosquitto',
  { timeout: 120_000 },
  async (t) => {
    const [theirs, ours, theirsOpen, oursOpen] = (await freePorts(4)) as [number, number, number, number]
    const conf = (below: number, open: number) =>
      `allow_anonymous true\nlistener ${below} 127.0.0.1\nmount_point plant/7/\nlistener ${open} 127.0.0.1\n`
    const folder = temporaryFolder(t, 0o755)
    fs.writeFileSync(path.join(folder, 'theirs.conf'), `user root\n${conf(theirs, theirsOpen)}`)
    fs.writeFileSync(path.join(folder, 'ours.conf'), conf(ours, oursOpen))
    await start(t, findDebianProgram('mosquitto'), ['-c', path.join(folder, 'theirs.conf')]).listening(theirsOpen)
    const yaml = path.join(folder, 'agent.yaml')
    assert.equal((await meshlet(['mqtt', 'import', path.join(folder, 'ours.conf'), '-o', yaml])).code, 0)
    await new TestAgent(t, fs.readFileSync(yaml, 'utf8')).start()
    const clients = findDebianProgram('mosquittoClients')
    const seen = async (below: number, open: number): Promise<string[]> => {
      const hear = (port: number, id: string, ...args: readonly string[]) =>
        run(clients.replace(/pub$/, 'sub'), [
          ...`-h 127.0.0.1 -p ${port} -i ${id} -q 1 -W 3 -F`.split(' '),
          '%t %p %q %r',
          ...args,
        ])
      const say = (port: number, ...args: readonly string[]) =>
        run(clients, ['-h', '127.0.0.1', '-p', String(port), '-q', '1', ...args])
      await say(below, '-t', 'kept', '-m', 'k', '-r')
      await say(open, '-t', 'outside', '-m', 'o', '-r')
      const heard = Promise.all([
        hear(below, 'b', '-t', '#', '-t', 'plant/7/#'),
        hear(open, 'o', '-t', '#'),
        hear(below, 'v5', '-V', '5', '-t', 'temp/+'),
      ])
      await new Promise((resolve) => setTimeout(resolve, 1_000))
      await say(below, '-t', 'temp/1', '-m', 'x')
      await say(open, '-t', 'plant/7/temp/2', '-m', 'y')
      await say(open, '-t', 'plant/70/temp/3', '-m', 'z')
      return (await heard).map(({ out }) => out.trim().split('\n').toSorted().join(', '))
    }
    const [mosquitto, meshletSaw] = [await seen(theirs, theirsOpen), await seen(ours, oursOpen)]
    // mosquitto 2.0 leaves the prefix on what it sends, although its manual says that it is removed.
    const [below, open, withV5] = mosquitto
    const removed = [below, withV5].map((line) => line!.replaceAll('plant/7/', ''))
    assert.deepEqual(meshletSaw, [removed[0], open, removed[1]])
    assert.equal(meshletSaw[0], 'kept k 1 1, temp/1 x 1 0, temp/2 y 1 0')
  },
)

test(
  'a client whose certificate is revoked stays out, as with mosquitto (crlfile)',
  { timeout: 120_000 },
  async (t) => {
    const [theirs, ours] = (await freePorts(2)) as [number, number]
    const folder = temporaryFolder(t, 0o755)
    const file = (name: string): string => path.join(folder, name)
    const openssl = (...args: readonly string[]): void => {
      execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
    }
    fs.writeFileSync(
      file('ca.cnf'),
      `[ca]\ndefault_ca=a\n[a]\ndatabase=${file('index')}\nserial=${file('serial')}\ncrlnumber=${file('number')}\nnew_certs_dir=${folder}\n` +
        `default_md=sha256\ndefault_days=2\ndefault_crl_days=2\npolicy=p\ncopy_extensions=copy\n[p]\ncommonName=supplied\n`,
    )
    fs.writeFileSync(file('index'), '')
    for (const name of ['serial', 'number']) fs.writeFileSync(file(name), '1000\n')
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    openssl('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=plant CA', '-days', '2')
    const ca = ['-config', 'ca.cnf', '-cert', 'ca.pem', '-keyfile', 'ca.key', '-batch']
    for (const name of ['broker', 'good', 'bad']) {
      const san = ['-addext', 'subjectAltName=DNS:localhost']
      openssl('req', ...ec, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`, ...san)
      openssl('ca', ...ca, '-in', `${name}.csr`, '-out', `${name}.pem`, '-notext')
    }
    openssl('ca', ...ca, '-revoke', 'bad.pem')
    openssl('ca', ...ca, '-gencrl', '-out', 'crl.pem')
    for (const name of fs.readdirSync(folder)) fs.chmodSync(file(name), 0o644)
    const conf = (port: number): string =>
      `allow_anonymous true\nlistener ${port} 127.0.0.1\ncertfile ${file('broker.pem')}\nkeyfile ${file('broker.key')}\n` +
      `cafile ${file('ca.pem')}\nrequire_certificate true\ncrlfile ${file('crl.pem')}\n`
    fs.writeFileSync(file('theirs.conf'), `user root\n${conf(theirs)}`)
    fs.writeFileSync(file('ours.conf'), conf(ours))
    await start(t, findDebianProgram('mosquitto'), ['-c', file('theirs.conf')]).listening(theirs)
    const said = await meshlet(['mqtt', 'import', file('ours.conf'), '-o', file('agent.yaml')])
    assert.equal(said.code, 0, said.err)
    await new TestAgent(t, fs.readFileSync(file('agent.yaml'), 'utf8')).start()
    const isIn = async (port: number, name: string): Promise<boolean> => {
      const tls = ['--cafile', file('ca.pem'), '--cert', file(`${name}.pem`), '--key', file(`${name}.key`)]
      const at = ['-h', 'localhost', '-p', String(port), '-t', 'a', '-m', 'x', '-q', '1']
      return (await run(findDebianProgram('mosquittoClients'), [...at, ...tls])).code === 0
    }
    for (const port of [theirs, ours])
      assert.deepEqual([await isIn(port, 'good'), await isIn(port, 'bad')], [true, false], `port ${port}`)
  },
)
