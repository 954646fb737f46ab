/**
 * The shipped agent on a file system that goes read-only under its open files, as Linux does it after an error of the
 * device. `mount -o remount,ro` refuses while a file is open for writing, as root and in a user namespace alike, so it
 * takes an ext4 on a loop device whose kernel can be told to meet an error. In a mount namespace of its own.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import path from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { freePorts } from '../../tools/free-ports.ts'
import { Agent, directoryMode, writeResources } from '../conformance/package/shipped.ts'
import { sleep, temporaryFolder } from '../conformance/programs.ts'

const KEEP = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 3600 } } as const
const FAULT_MS = 2_000

function findReasonToSkip(): string | false {
  if (process.getuid!() !== 0) return 'only root mounts an ext4'
  if (!fs.existsSync('/dev/loop-control')) return 'no loop devices'
  for (const program of ['mkfs.ext4', 'fsck.ext4', 'nsenter', 'unshare'])
    if (spawnSync('which', [program]).status !== 0) return `${program} is not installed`
  return spawnSync('unshare', ['-m', 'true']).status === 0 ? false : 'the kernel permits no mount namespace'
}

/** An ext4 that only processes of its namespace see. */
class Disk {
  readonly folder: string
  readonly #image: string
  readonly #pid: number
  private constructor(folder: string, image: string, pid: number) {
    this.folder = folder
    this.#image = image
    this.#pid = pid
  }
  static async make(t: TestContext, folder: string): Promise<Disk> {
    const image = path.join(temporaryFolder(t), 'image')
    fs.writeFileSync(image, '')
    fs.truncateSync(image, 128 * 1024 * 1024)
    const made = spawnSync('mkfs.ext4', ['-q', '-F', image], { encoding: 'utf8' })
    assert.equal(made.status, 0, made.stderr)
    fs.mkdirSync(folder)
    // Holds the namespace, which takes the mount with it.
    const holder = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', 'echo here; exec sleep infinity'])
    t.after(async () => {
      holder.kill('SIGKILL')
      await once(holder, 'exit')
    })
    await once(holder.stdout, 'data')
    const disk = new Disk(folder, image, holder.pid!)
    disk.mount()
    return disk
  }
  get launcher(): readonly string[] {
    return ['nsenter', `--mount=/proc/${this.#pid}/ns/mnt`, '--']
  }
  #run(...command: readonly string[]): { readonly status: number | null; readonly out: string } {
    const { status, stdout, stderr } = spawnSync(this.launcher[0]!, [...this.launcher.slice(1), ...command], {
      encoding: 'utf8',
    })
    return { status, out: stdout + stderr }
  }
  mount(): void {
    const { status, out } = this.#run('mount', '-o', 'loop,errors=remount-ro', this.#image, this.folder)
    assert.equal(status, 0, out)
    this.#run('chmod', '700', this.folder)
  }
  /** @returns what `mount -o remount,ro` says */
  remount(): string {
    return this.#run('mount', '-o', 'remount,ro', this.folder).out
  }
  /** undefined: this kernel cannot be told. */
  get errorTrigger(): string | undefined {
    const { out } = this.#run('findmnt', '-no', 'SOURCE', this.folder)
    const file = `/sys/fs/ext4/${path.basename(out.trim())}/trigger_fs_error`
    return fs.existsSync(file) ? file : undefined
  }
  /** What an operator does: checks the file system and mounts it again. */
  repair(): void {
    assert.equal(this.#run('umount', this.folder).status, 0)
    const { status, out } = this.#run('fsck.ext4', '-p', '-f', this.#image)
    assert.ok(status === 0 || status === 1, out)
    this.mount()
  }
}

async function createAgent(t: TestContext): Promise<{ readonly agent: Agent; readonly port: number }> {
  const [port] = (await freePorts(1)) as [number]
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners: [{name: mqtt, kind: mqtt, port: ${port}}]\nlog: {level: warn}\n`),
  )
  writeResources(agent.folder, [])
  return { agent, port }
}
async function connect(t: TestContext, port: number, clientId: string): Promise<MqttClient> {
  const client = await connectAsync({ host: '127.0.0.1', port, clientId, reconnectPeriod: 50, ...KEEP })
  client.on('error', () => {})
  t.after(() => client.end(true))
  return client
}

test(
  'a file system that goes read-only: nothing is acknowledged that is not stored, and nothing that was is lost',
  { skip: findReasonToSkip(), timeout: 120_000 },
  async (t) => {
    const { agent, port } = await createAgent(t)
    const disk = await Disk.make(t, path.join(agent.folder, 'state'))
    const trigger = disk.errorTrigger
    if (trigger === undefined) {
      t.skip('this kernel has no trigger_fs_error of ext4')
      return
    }
    agent.launcher = disk.launcher
    await agent.start()
    const received = new Map<string, number>()
    const subscriber = await connect(t, port, 'subscriber')
    subscriber.on('message', (_, payload) => {
      received.set(payload.toString(), (received.get(payload.toString()) ?? 0) + 1)
    })
    await subscriber.subscribeAsync('t/#', { qos: 2 })
    const publisher = await connect(t, port, 'publisher')
    const acked = new Set<string>()
    let refused = 0
    const publish = async (phase: string, count: number): Promise<void> => {
      for (let n = 0; n < count; n++)
        await publisher.publishAsync('t/1', `${phase} ${n}`, { qos: n % 2 === 0 ? 1 : 2 }).then(
          () => acked.add(`${phase} ${n}`),
          () => refused++,
        )
    }
    await publish('before', 200)
    t.diagnostic(`remount,ro with open files: ${disk.remount().trim().split('\n')[0]}`)
    fs.writeFileSync(trigger, 'test')
    for (const untilMs = performance.now() + FAULT_MS; performance.now() < untilMs;) await publish('during', 10)
    const storedDuring = [...acked].filter((text) => text.startsWith('during')).length
    assert.equal(storedDuring, 0, 'nothing is acknowledged that cannot be stored')
    assert.ok(refused > 0)
    const problems = (await agent.status())?.problems.map(({ code }) => code) ?? []
    assert.ok(
      problems.some((code) => code.startsWith('MESH_ST')),
      `the status tells it: ${problems.join(', ')}`,
    )
    await publisher.publishAsync('t/1', 'not stored', { qos: 0 })
    for (let tries = 0; tries < 100 && !received.has('not stored'); tries++) await sleep(20)
    assert.ok(received.has('not stored'), 'what needs no disk goes on')

    const before = refused
    await agent.process.stop('SIGTERM')
    disk.repair()
    await agent.start()
    for (let tries = 0; tries < 100 && !(publisher.connected && subscriber.connected); tries++) await sleep(50)
    await publish('after', 50)
    for (let tries = 0; tries < 200 && [...acked].some((text) => !received.has(text)); tries++) await sleep(50)
    const lost = [...acked].filter((text) => !received.has(text))
    const twice = [...received].filter(([text, times]) => times > 1 && Number(text.split(' ').at(-1)) % 2 === 1)
    t.diagnostic(
      `${acked.size} acknowledged, ${lost.length} lost, ${twice.length} of QoS 2 twice, ${before} refused; ${problems.join(', ')}`,
    )
    assert.deepEqual([lost, twice], [[], []])
    assert.ok(
      [...acked].some((text) => text.startsWith('after')),
      'it goes on',
    )
  },
)
