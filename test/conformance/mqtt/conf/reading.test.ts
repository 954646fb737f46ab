/**
 * mosquitto.conf as mosquitto itself reads it and as `meshlet mqtt import` does: which options there are, which
 * listeners are opened, and who gets in by what stands in which file.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { convert } from '../../../../agent/cli/mosquitto/import.ts'
import { findReasonLeft, SAME, TAKEN } from '../../../../agent/cli/mosquitto/options.ts'
import { createAgentConfigSchema } from '../../../../agent/config/schema.ts'
import type { Random } from '../../../../core/os/clock.ts'
import { findDebianProgram } from '../../../../tools/debian.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { start, temporaryFolder } from '../../programs.ts'

/** What mosquitto says of a file that it does not go on with. */
function read(conf: string): string {
  const { stderr, stdout } = spawnSync(findDebianProgram('mosquitto'), ['-c', conf], { timeout: 400, encoding: 'utf8' })
  return stderr + stdout
}

test('every option that the program knows has a place or a reason', { timeout: 300_000 }, (t) => {
  const conf = path.join(temporaryFolder(t), 'm.conf')
  const words = fs.readFileSync(findDebianProgram('mosquitto'), 'latin1').matchAll(/[a-z][a-z0-9_.]{3,39}(?=\0)/g)
  const candidates = [...new Set([...words].map(([word]) => word))].filter((word) => word.includes('_'))
  const isOption = (word: string): boolean => {
    fs.writeFileSync(conf, `${word} 1\nends_here\n`)
    return !read(conf).includes(`Unknown configuration variable "${word}"`)
  }
  const options = candidates.filter(isOption)
  assert.ok(options.length > 60, `${options.length}: ${options.join()}`)
  const known = (name: string): boolean =>
    TAKEN[name] !== undefined || SAME[name] !== undefined || findReasonLeft(name) !== undefined
  assert.deepEqual(
    options.filter((name) => !['include_dir', 'auth_opt_', 'plugin_opt_'].includes(name) && !known(name)),
    [],
  )
})

const COMMENTS = ['', '', '', ' # why', ' #', '   ']
/** Before and behind listeners, in the main file and in one that it includes. */
const LINES = [
  'listener PORT',
  'listener PORT',
  'listener PORT 127.0.0.1',
  'port PORT',
  'bind_address 127.0.0.1',
  'max_connections -1',
  'max_connections 5',
  'max_qos 1',
  'max_qos 2',
  'maximum_qos 0',
  'protocol mqtt',
  'socket_domain ipv4',
  'allow_anonymous true',
  'allow_anonymous false',
  'allow_zero_length_clientid false',
  'use_identity_as_username false',
  'require_certificate false',
  'max_topic_alias 5',
  'tls_version tlsv1.2',
  'max_inflight_messages 20',
  'persistence true',
  'retained_persistence true',
  'retry_interval 20',
  'connection_messages 1',
] as const
/** Text, of which a comment would be a part. */
const IS_TEXT = /^(bind_address|tls_version)/

/** From here on. */
let port = 21_000

function confOf(random: Random, ports: () => number): readonly [main: string, included: string] {
  const one = (): string => {
    const line = LINES[Math.floor(random.float() * LINES.length)]!.replace('PORT', () => String(ports()))
    return line + (IS_TEXT.test(line) ? '' : COMMENTS[Math.floor(random.float() * COMMENTS.length)]!)
  }
  const some = (most: number): string[] => Array.from({ length: Math.floor(random.float() * most) }, one)
  const first = random.float() < 0.5 ? ['per_listener_settings true'] : []
  const isIncluding = random.float() < 0.4
  const main = [...first, ...some(5), ...(isIncluding ? ['include_dir DIR'] : []), ...some(4)]
  return [`${main.join('\n')}\n`, isIncluding ? `${some(4).join('\n')}\n` : '']
}

type Listener = { readonly port: number; readonly address: string; readonly mqtt: { readonly anonymous: boolean } }
function importedListeners(conf: string): readonly Listener[] {
  const files = {
    read: (file: string) => (fs.existsSync(file) ? fs.readFileSync(file) : undefined),
    list: (folder: string) => fs.readdirSync(folder),
  }
  const { config } = convert(conf, '/etc/meshlet', files, 'plc')
  createAgentConfigSchema().parse(config)
  return (config as { listeners: Listener[] }).listeners
}
function writeConf(t: TestContext, [main, included]: readonly [string, string]): string {
  const folder = temporaryFolder(t, 0o755)
  fs.mkdirSync(path.join(folder, 'd'))
  fs.writeFileSync(path.join(folder, 'd/x.conf'), included)
  fs.writeFileSync(path.join(folder, 'm.conf'), main.replace('DIR', path.join(folder, 'd')))
  return path.join(folder, 'm.conf')
}

/** Which ports mosquitto opens, with their families, and whether a client without a name gets in; undefined: it ends. */
async function opened(t: TestContext, conf: string): Promise<ReadonlyMap<number, string> | undefined> {
  const mosquitto = start(t, findDebianProgram('mosquitto'), ['-c', conf])
  try {
    await mosquitto.until('it runs, or has ended', () => !mosquitto.running || / running\n/.test(mosquitto.log))
    if (!mosquitto.running) return undefined
    const ports = new Map<number, string>()
    for (const [, family, port] of mosquitto.log.matchAll(/Opening (ipv[46]) listen socket on port (\d+)/g))
      ports.set(Number(port), `${ports.get(Number(port)) ?? ''} ${family}`)
    for (const [port, families] of ports) ports.set(port, `${families} ${await isLetIn(port)}`)
    return ports
  } finally {
    await mosquitto.stop()
  }
}
const CONNECT = Buffer.from('101000044d51545404020000000474657374', 'hex')
function isLetIn(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(CONNECT))
    socket.once('error', reject)
    socket.once('data', (bytes) => {
      socket.destroy()
      resolve(bytes[0] === 0x20 && bytes[3] === 0)
    })
  })
}
/**
 * mosquitto 2.0.11 lets anybody into its default listener although the file says no: for this machine alone, and where
 * each listener has settings of its own.
 */
function isLax([main, included]: readonly [string, string], at: number): boolean {
  const text = main + included
  const isNamed = new RegExp(`^listener ${at}\\b`, 'm').test(text)
  return !isNamed && (text.startsWith('per_listener_settings') || !NAMED.test(text))
}
const NAMED = /^(listener|port|bind_address)/m
const FAMILIES: Readonly<Record<string, string>> = { '::': ' ipv4 ipv6', '0.0.0.0': ' ipv4', '127.0.0.1': ' ipv4' }

const SEED = Number(process.env['MOSQUITTO_CONF_SEED'] ?? 1)
test('files by chance open the same ports for the same clients', { timeout: 300_000 }, async (t) => {
  const random = seededRandom(SEED)
  let accepted = 0
  for (let run = 0; run < 100; run++) {
    const texts = confOf(random, () => port++)
    const conf = writeConf(t, texts)
    const theirs = await opened(t, conf)
    if (!theirs) continue
    accepted++
    const ours = importedListeners(conf)
    // For this machine alone it is 127.0.0.1 here, whatever families mosquitto takes.
    const isLocalOnly = !NAMED.test(texts.join(''))
    // One that lets nobody in is told, and not opened.
    const expected = [...theirs].filter(
      ([at, how]) => how.endsWith('true') && (ours.some((one) => one.port === at) || !isLax(texts, at)),
    )
    assert.deepEqual(
      new Map(
        ours.map((one) => [
          one.port,
          `${isLocalOnly ? theirs.get(one.port)?.replace(/ \w+$/, '') : FAMILIES[one.address]} ${one.mqtt.anonymous}`,
        ]),
      ),
      new Map(expected),
      `seed ${SEED}, run ${run}\n${texts.join('---\n')}`,
    )
  }
  assert.ok(accepted > 50, `${accepted} files are ones that mosquitto takes`)
})

test('a folder is read in the order of mosquitto', (t) => {
  const folder = temporaryFolder(t, 0o755)
  const names = [
    'b.conf',
    'A.conf',
    '01.conf',
    'a.conf',
    'B.conf',
    '00.conf',
    '_.conf',
    'ab.conf',
    'aB.conf',
    'Ab.conf',
  ]
  for (const [i, name] of names.entries())
    fs.writeFileSync(path.join(folder, name), `listener ${22_000 + i} 127.0.0.1\n`)
  const conf = path.join(temporaryFolder(t, 0o755), 'm.conf')
  fs.writeFileSync(conf, `include_dir ${folder}\nallow_anonymous true\n`)
  const theirs = [...read(conf).matchAll(/Opening ipv4 listen socket on port (\d+)/g)].map(([, port]) => Number(port))
  assert.equal(theirs.length, names.length)
  assert.deepEqual(
    importedListeners(conf).map(({ port }) => port),
    theirs,
  )
})
