/**
 * `meshlet mqtt pub|sub|rr` beside mosquitto_pub, mosquitto_sub and mosquitto_rr at one mosquitto: the same words give
 * the same output and the same exit code.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { BARE_ENV, distFile, type Running, start, temporaryFolder } from '../programs.ts'

type Client = 'mosquitto' | 'meshlet'
type Done = { readonly out: string; readonly code: number | null; readonly err: string }

class Site {
  readonly port: number
  readonly broker: Running
  #ids = 0
  constructor(port: number, broker: Running) {
    this.port = port
    this.broker = broker
  }
  static async start(t: TestContext, lines = 'allow_anonymous true'): Promise<Site> {
    const [port] = (await freePorts(1)) as [number]
    const folder = temporaryFolder(t)
    const conf = path.join(folder, 'mosquitto.conf')
    fs.writeFileSync(path.join(folder, 'passwords'), '', { mode: 0o600 })
    fs.writeFileSync(conf, `user root\nlistener ${port} 127.0.0.1\n${lines.replaceAll('FOLDER', folder)}\n`)
    const broker = start(t, findDebianProgram('mosquitto'), ['-v', '-c', conf])
    await broker.listening(port)
    return new Site(port, broker)
  }

  /** Starts one of the two; `whenThere` is called once it has subscribed. */
  async run(
    client: Client,
    verb: 'pub' | 'sub' | 'rr',
    args: readonly string[],
    o: { readonly input?: string | Buffer; readonly whenThere?: () => Promise<void> } = {},
  ): Promise<Done> {
    const id = `${client}-${verb}-${this.#ids++}`
    const common = ['-h', '127.0.0.1', '-p', String(this.port), ...(args.includes('-i') ? [] : ['-i', id])]
    const [command, ...before] =
      client === 'mosquitto'
        ? [findDebianProgram('mosquittoClients').replace(/pub$/, verb)]
        : [process.execPath, distFile('meshlet.cjs'), 'mqtt', verb]
    const child = spawn(command!, [...before, ...common, ...args], {
      cwd: os.tmpdir(),
      env: { ...BARE_ENV, TZ: 'UTC' },
    })
    const [out, err]: [Buffer[], Buffer[]] = [[], []]
    child.stdout.on('data', (bytes: Buffer) => out.push(bytes))
    child.stderr.on('data', (bytes: Buffer) => err.push(bytes))
    child.stdin.on('error', () => {
      /* one that is wrong usage reads nothing */
    })
    child.stdin.end(o.input ?? '')
    const ended = once(child, 'close')
    if (o.whenThere) {
      await this.broker.until(`${id} has subscribed`, () => this.broker.log.includes(`Sending SUBACK to ${id}`))
      await o.whenThere()
    }
    const [code] = (await ended) as [number | null]
    return { code, out: Buffer.concat(out).toString('latin1'), err: Buffer.concat(err).toString() }
  }
  pub(...args: string[]): Promise<Done> {
    return this.run('mosquitto', 'pub', args)
  }
}

const RETAINED: readonly (readonly string[])[] = [
  ['-t', 'k/a', '-m', 'one'],
  ['-t', 'k/b', '-m', 'two', '-q', '1'],
  ['-t', 'k/empty', '-m', 'x', '-V', '5', '-D', 'publish', 'content-type', 'text/plain'],
  ['-t', 'k/json', '-m', '{"a": [1, 2.5, "x/y\\n"]}', '-q', '2'],
  ['-t', 'k/bytes', '-f', 'BYTES'],
]
const PROPERTIES = [
  '-V 5 -D publish content-type text/plain -D publish response-topic re/ply -D publish correlation-data c0rr',
  '-D publish user-property a 1 -D publish user-property b two -D publish payload-format-indicator 1',
]
  .join(' ')
  .split(' ')

/** `live`: published once it has subscribed. */
const SUBSCRIPTIONS: readonly {
  readonly args: readonly string[]
  readonly live?: readonly (readonly string[])[]
  readonly input?: string
}[] = [
  { args: ['-t', 'k/a', '-C', '1'] },
  { args: ['-t', 'k/a', '-C', '1', '-N'] },
  { args: ['-t', 'k/a', '-C', '1', '-v'] },
  { args: ['-t', 'k/bytes', '-C', '1'] },
  { args: ['-t', 'k/bytes', '-C', '1', '-F', '%x %X %l'] },
  { args: ['-t', 'k/a', '-t', 'k/b', '-C', '2', '-q', '1', '-F', '%t|%q|%r|%p|%%|%m'] },
  { args: ['-t', 'k/a', '-C', '1', '-F', '[%10t][%-10t][%010l][%-5l][%.2t][%6.2t][%3q]'] },
  { args: ['-t', 'k/a', '-C', '1', '-F', '\\\\ a\\tb\\n@@ @Y'] },
  { args: ['-t', 'k/a', '-C', '1', '-F', '@F @H @Z @j @y @z @a @b @U @V @W @u @G @g @e @C'] },
  { args: ['-t', 'live', '-C', '1', '-v'], live: [['-t', 'live', '-m', 'now']] },
  {
    args: ['-t', 'live', '-C', '2', '-v'],
    live: [
      ['-t', 'live', '-n'],
      ['-t', 'live', '-m', 'x'],
    ],
  },
  {
    args: ['-t', 'live', '-C', '2'],
    live: [
      ['-t', 'live', '-n'],
      ['-t', 'live', '-m', 'x'],
    ],
  },
  { args: ['-t', 'k/#', '-R', '-C', '1', '-v'], live: [['-t', 'k/live', '-m', 'fresh']] },
  { args: ['-t', 'k/#', '-T', 'k/+', '-C', '1', '-v'], live: [['-t', 'k/x/y', '-m', 'deep']] },
  { args: ['-t', 'k/a', '--retained-only', '-v', '-t', 'live'], live: [['-t', 'live', '-m', 'ends it']] },
  { args: ['-t', 'k/a', '-E'] },
  { args: ['-t', 'nothing/here', '-W', '1'] },
  { args: ['-V', 'mqttv31', '-t', 'k/a', '-C', '1', '-v'] },
  { args: ['-V', '5', '-t', 'k/a', '-C', '1', '-v', '-x', '5'] },
  {
    args: ['-V', '5', '-t', 'live', '-C', '1', '-F', '%C|%R|%D|%P|%F|%E|%A|%S'],
    live: [['-t', 'live', '-m', 'x', ...PROPERTIES]],
  },
  {
    args: ['-V', '5', '-D', 'subscribe', 'subscription-identifier', '7', '-t', 'live', '-C', '1', '-F', '%S %p'],
    live: [['-t', 'live', '-m', 'x']],
  },
  {
    args: ['-V', '5', '--retain-as-published', '-t', 'rap', '-C', '1', '-F', '%r %p'],
    live: [['-t', 'rap', '-m', 'x', '-r']],
  },
]

test('mqtt sub prints and ends as mosquitto_sub does', { timeout: 600_000 }, async (t) => {
  const site = await Site.start(t)
  const bytes = path.join(temporaryFolder(t), 'bytes')
  fs.writeFileSync(bytes, Buffer.of(0, 1, 0xff, 0xfe, 0x80, 10, 65))
  for (const args of RETAINED) await site.pub(...args.map((arg) => (arg === 'BYTES' ? bytes : arg)), '-r')
  for (const { args, live } of SUBSCRIPTIONS) {
    await t.test(args.join(' '), async () => {
      const whenThere = async (): Promise<void> => {
        for (const message of live ?? []) await site.pub(...message)
      }
      const run = (client: Client): Promise<Done> => site.run(client, 'sub', args, live ? { whenThere } : {})
      const [theirs, ours] = [await run('mosquitto'), await run('meshlet')]
      assert.deepEqual([ours.out, ours.code], [theirs.out, theirs.code], `${theirs.err}\n${ours.err}`)
    })
  }
  await t.test('-F %j, %J and --pretty, but for the time', async () => {
    const withoutTime = (text: string): string => text.replace(/"tst":\s*"[^"]*"/, '"tst":""')
    for (const args of [
      ['-t', 'k/json', '-C', '1', '-q', '2', '-F', '%j'],
      ['-t', 'k/json', '-C', '1', '-F', '%J'],
      ['-t', 'k/json', '-C', '1', '-F', '%J', '--pretty'],
      ['-V', '5', '-t', 'k/empty', '-C', '1', '-F', '%j'],
      ['-t', 'k/a', '-C', '1', '-F', '%J'],
    ]) {
      const theirs = await site.run('mosquitto', 'sub', args)
      const ours = await site.run('meshlet', 'sub', args)
      assert.deepEqual([withoutTime(ours.out), ours.code], [withoutTime(theirs.out), theirs.code], args.join(' '))
      const stamp = /"tst":\s*"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\+0000)"/
      assert.equal(stamp.test(ours.out), stamp.test(theirs.out), ours.out)
    }
  })
  await t.test('--remove-retained leaves nothing', async () => {
    for (const client of ['mosquitto', 'meshlet'] as const) {
      await site.pub('-t', 'gone/a', '-m', '1', '-r')
      await site.pub('-t', 'gone/b', '-m', '2', '-r')
      // mosquitto_sub 2.0.11 does not end with -C when it removes.
      const end = client === 'mosquitto' ? ['-W', '1'] : ['-C', '2']
      const { code } = await site.run(client, 'sub', ['-t', 'gone/#', '--remove-retained', ...end])
      assert.equal(code, client === 'mosquitto' ? 27 : 0)
      assert.equal((await site.run('mosquitto', 'sub', ['-t', 'gone/#', '-W', '1'])).out, '', client)
    }
  })
  await t.test('a format that is none is wrong usage', async () => {
    for (const format of ['%', '100%', '%Q', '@', '\\', '\\q', '%5']) {
      const args = ['-t', 'k/a', '-C', '1', '-F', format]
      assert.equal((await site.run('mosquitto', 'sub', args)).code, 1, format)
      const { code, err } = await site.run('meshlet', 'sub', args)
      assert.equal(code, 2, format)
      assert.match(err, /-F: /)
    }
  })
  await t.test('-U ends a subscription of a kept session', async () => {
    for (const client of ['mosquitto', 'meshlet'] as const) {
      const session = ['-c', '-i', `kept-${client}`, '-q', '1']
      assert.equal((await site.run(client, 'sub', [...session, '-t', 'u/a', '-t', 'u/b', '-E'])).code, 0)
      await site.pub('-t', 'u/a', '-m', 'while away', '-q', '1')
      assert.equal((await site.run(client, 'sub', [...session, '-t', 'u/b', '-C', '1'])).out, 'while away\n', client)
    }
  })
})

const PUBLICATIONS: readonly { readonly args: readonly string[]; readonly input?: string; readonly count: number }[] = [
  { args: ['-m', 'text'], count: 1 },
  { args: ['-m', '-'], count: 1 },
  { args: ['-n', '-r', '-q', '1'], count: 1 },
  { args: ['-s', '-q', '2'], input: 'all of\nit\n', count: 1 },
  { args: ['-l', '-q', '1'], input: 'one\n\nthree\n', count: 3 },
  { args: ['-f', 'FILE'], count: 1 },
  { args: ['-m', 'again', '--repeat', '3', '--repeat-delay', '0.05', '-q', '1'], count: 3 },
  { args: ['-m', 'x', ...PROPERTIES], count: 1 },
  { args: ['-m', 'x', '-V', 'mqttv31', '-q', '2'], count: 1 },
]

test('mqtt pub publishes what mosquitto_pub does', { timeout: 600_000 }, async (t) => {
  const site = await Site.start(t)
  const file = path.join(temporaryFolder(t), 'file')
  fs.writeFileSync(file, 'of a file\n')
  for (const { args: given, input, count } of PUBLICATIONS) {
    const args = given.map((arg) => (arg === 'FILE' ? file : arg))
    await t.test(args.join(' '), async () => {
      const heard = async (client: Client): Promise<[string, number | null]> => {
        let code: number | null = null
        const { out } = await site.run(
          'mosquitto',
          'sub',
          ['-V', '5', '-t', 'p/#', '-q', '2', '-C', String(count), '-F', '%t %q %r %l %p %C %R %D %P %F'],
          {
            whenThere: async () => {
              ;({ code } = await site.run(client, 'pub', ['-t', 'p/x', ...args], input === undefined ? {} : { input }))
            },
          },
        )
        return [out, code]
      }
      assert.deepEqual(await heard('meshlet'), await heard('mosquitto'))
    })
  }
  await t.test('a will is left by who is killed, and by none that ends', async () => {
    for (const client of ['mosquitto', 'meshlet'] as const) {
      const will = ['--will-topic', 'w', '--will-payload', 'gone', '--will-qos', '1', '--will-retain']
      const heard = await site.run('mosquitto', 'sub', ['-t', 'w', '-W', '1'], {
        whenThere: async () => {
          await site.run(client, 'pub', ['-t', 'x', '-m', 'x', ...will])
        },
      })
      assert.equal(heard.out, '', client)
    }
  })
})

test('mqtt rr asks and prints the response', { timeout: 600_000 }, async (t) => {
  const site = await Site.start(t)
  for (const client of ['mosquitto', 'meshlet'] as const) {
    let answered: Done | undefined
    const asked = await site.run('mosquitto', 'sub', ['-V', '5', '-t', 'rr/ask', '-C', '1', '-F', '%p %R'], {
      whenThere: async () => {
        answered = await site.run(client, 'rr', ['-t', 'rr/ask', '-e', 'rr/reply', '-m', 'how much', '-v'], {
          whenThere: async () => {
            await site.pub('-t', 'rr/reply', '-m', '42')
          },
        })
      },
    })
    assert.deepEqual([answered?.out, answered?.code], ['rr/reply 42\n', 0], client)
    assert.equal(asked.out, 'how much rr/reply\n')
    const alone = await site.run(client, 'rr', ['-t', 'rr/ask', '-e', 'rr/reply', '-n', '-W', '1'])
    assert.deepEqual([alone.out, alone.code], ['', 27], client)
  }
})

test(
  'who is refused ends with the code of CONNACK, and a password comes from a file',
  { timeout: 120_000 },
  async (t) => {
    const site = await Site.start(t, 'allow_anonymous false\npassword_file FOLDER/passwords')
    for (const version of ['mqttv311', 'mqttv5']) {
      const args = ['-V', version, '-t', 'x', '-m', 'x']
      const theirs = await site.run('mosquitto', 'pub', args)
      const ours = await site.run('meshlet', 'pub', args)
      assert.equal(ours.code, theirs.code, `${version}: ${ours.err}`)
      assert.match(ours.err, /^meshlet: MESH_MQTT_UPSTREAM_REFUSED: the broker refused the connection: [Nn]ot auth/)
    }
    const secret = await site.run('meshlet', 'pub', ['-t', 'x', '-m', 'x', '-u', 'me', '-P', 'hunter2'])
    assert.equal(secret.code, 2)
    assert.match(secret.err, /--password-file/)
    assert.doesNotMatch(secret.err, /hunter2/)
  },
)
