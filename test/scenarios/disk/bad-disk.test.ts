/**
 * What a disk may do to the agent: nothing that was acknowledged is lost, nothing is acknowledged that is not kept, and
 * it goes on by itself.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { systemClock } from '../../../core/os/clock.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { ORDERS } from '../../../demo/resources.ts'
import { FaultyStorage } from '../../helpers/disk/faulty-storage.ts'
import { testHub } from '../../hub/start-hub.ts'
import { meshlet, nothingIsWrong, problem, says } from '../cli.ts'
import { device, MQTT, publish, readAll, subscribeAndLeave } from '../mqtt/devices.ts'
import { controlYaml, startSite, TestAgent, until, type Finally } from '../site.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

/**
 * An agent whose disk has as many free bytes as the test says, and a way to say so that does not wait for the next
 * look.
 */
function diskOf(agent: TestAgent): (freeBytes: () => number) => void {
  let [look, laterMs] = [(): number => 1e12, 0]
  agent.over = {
    disk: { ...systemDisk, freeBytes: () => look() },
    clock: { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + laterMs },
  }
  return (freeBytes) => {
    look = freeBytes
    laterMs += 2_000
  }
}

/** A file system of its own, this large and no larger. */
function smallDisk(t: Finally, megabytes: number): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700`, 'tmpfs', folder], { stdio: 'ignore' })
  } catch (err) {
    fs.rmdirSync(folder)
    throw err
  }
  t.after(() => {
    execFileSync('umount', ['-l', folder])
    fs.rmdirSync(folder)
  })
  return folder
}
/** Takes every block that is left. */
function fill(file: string): void {
  try {
    for (;;) fs.appendFileSync(file, Buffer.alloc(64 * 1024))
  } catch {
    /* none is left */
  }
}
function canMount(): boolean {
  let undo = (): unknown => undefined
  try {
    smallDisk(
      {
        after: (fn) => {
          undo = fn
        },
      },
      1,
    )
    return true
  } catch {
    return false
  } finally {
    undo()
  }
}

test('damaged files are set aside and named; what they held is gone, the agent is not', async (t) => {
  const hub = await testHub(t)
  const folder = temporaryFolder(t)
  fs.writeFileSync(`${folder}/roots.pem`, hub.hub.rootsPem)
  fs.writeFileSync(
    `${folder}/edge.token`,
    (await hub.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: '*' })).token,
  )
  const agent = new TestAgent(
    t,
    `node: {name: edge, namespace: edge, serviceAccount: gateway}\n${controlYaml(folder, 'edge', hub.hub.port)}${MQTT}`,
  )
  const state = `${agent.folder}/state`
  const names = ['identity/identity.json', 'snapshot.db', 'spool.db']
  fs.mkdirSync(`${state}/identity`, { recursive: true })
  for (const name of names) fs.writeFileSync(`${state}/${name}`, 'x'.repeat(10_000))
  await agent.start()
  await agent.connected()
  await problem(agent, 'MESH_IDENTITY_DAMAGED')
  assert.match((await problem(agent, 'MESH_STORAGE_DAMAGED')).remedy, /keep it for salvage/)
  const aside = agent.status().problems.map((p) => /is now (.*)$/.exec(p.text)?.[1] ?? assert.fail(p.text))
  assert.deepEqual(
    aside.map((file) => path.relative(state, file).replace(/-\d+$/, '')),
    names.map((name) => `${name}.damaged`),
  )
  for (const file of aside)
    assert.equal(fs.readFileSync(file, 'utf8'), 'x'.repeat(10_000), 'whoever wants to rescue something finds all of it')
  assert.equal(await publish(await device(t, agent, 'plain'), 'hello'), 0)
})

test('a stored configuration that is damaged while no control plane is there: its copy serves, and status says so, how old it is and where the damaged file is', async (t) => {
  const { edge, links, app } = await startSite(t)
  const file = `${edge.folder}/state/snapshot.db`
  await edge.stop()
  links.control.cut()
  fs.copyFileSync(file, `${edge.folder}/state/snapshot.previous.db`)
  fs.writeFileSync(file, fs.readFileSync(file).fill(0))
  await edge.start()
  assert.equal((await app().call(ORDERS, '/orders/1')).status, 200)
  const { text, remedy } = await problem(edge, 'MESH_STORAGE_DAMAGED')
  assert.match(
    text,
    /^what serves is a copy of the configuration, last changed 20\S+Z \(generation \d+\): a damaged file was found at start and is now .*snapshot\.db\.damaged-\d+$/,
  )
  assert.match(remedy, /keep it for salvage/)
  const {
    config: { stale, ageSec },
  } = edge.status()
  assert.ok(stale && ageSec !== undefined && ageSec < 300, `${stale} ${ageSec}`)
  assert.match((await edge.ask('/stats/prometheus')).body, /^mesh_config_damaged_total\{what="file"\} 1$/m)
  assert.equal(edge.lines.filter((l) => l['evt'] === 'snapshot.damaged' && l['serves'] === 'previous').length, 1)
})

test('a disk that runs full: PUBACK says 0x97 (MQTT 5.0 §3.4.2.1) or is withheld, QoS 0 passes, nothing acknowledged is lost, and it goes on by itself', async (t) => {
  const agent = new TestAgent(t, `directory: ${temporaryFolder(t)}\n${MQTT}`)
  const diskHas = diskOf(agent)
  await agent.start()
  await subscribeAndLeave(agent)
  const [five, four] = [await device(t, agent, 'five'), await device(t, agent, 'four', 4)]
  for (const i of [1, 2]) assert.equal(await publish(five, `m-${i}`, i as 1 | 2), 0)
  diskHas(() => 1_000)
  // Larger than what a new file has free within itself, where a message needs no more of the disk.
  const large = (name: string): string => `${name} ${'x'.repeat(64 * 1024)}`
  assert.deepEqual([await publish(five, large('no-1'), 1), await publish(five, large('no-2'), 2)], [0x97, 0x97])
  let late: number | undefined
  const waiting = publish(four, large('m-3')).then((reason) => {
    late = reason
  })
  const { text, remedy } = await problem(agent, 'MESH_STORAGE_FULL')
  assert.match(text, /the disk of .*state has less than 33554432 bytes free \(mqtt\.spool\.minDiskFreeBytes\)/)
  assert.match(remedy, /Free space/)
  assert.match((await agent.ask('/stats/prometheus')).body, /^mesh_mqtt_spool_refused_total\{reason="disk"\} [1-9]/m)
  const heard = new Promise<string>((resolve) => {
    five.once('message', (_topic, payload) => {
      resolve(payload.toString())
    })
  })
  await five.subscribeAsync('zero', { qos: 0 })
  await five.publishAsync('zero', 'q0', { qos: 0 })
  assert.equal(await heard, 'q0', 'QoS 0 needs no disk')
  assert.equal(late, undefined, 'a client of 3.1.1 has no way to be refused: it waits')
  diskHas(() => 1e12)
  await waiting
  assert.equal(late, 0)
  assert.equal(await publish(five, 'm-4'), 0)
  await nothingIsWrong(agent)
  await agent.stop()
  await agent.start()
  // Messages of different QoS keep no order among each other.
  const names = (await readAll(t, agent)).map((text) => text.slice(0, 3))
  assert.deepEqual(names.toSorted(), ['m-1', 'm-2', 'm-3', 'm-4'])
})

test('a state directory that goes away under a running agent: nothing is acknowledged any more, status names it', async (t) => {
  for (const whenFull of ['refuse', 'drop-oldest']) {
    const agent = new TestAgent(t, `directory: ${temporaryFolder(t)}\nmqtt: {spool: {whenFull: ${whenFull}}}\n${MQTT}`)
    const diskHas = diskOf(agent)
    await agent.start()
    await subscribeAndLeave(agent)
    const client = await device(t, agent, 'five')
    assert.equal(await publish(client, 'm-1'), 0)
    const gone = `${agent.folder}/gone`
    fs.renameSync(`${agent.folder}/state`, gone)
    diskHas(() => systemDisk.freeBytes(`${agent.folder}/state`))
    assert.equal(await publish(client, 'no-1'), 0x80)
    const { text, remedy } = await problem(agent, 'MESH_STATE_UNUSABLE')
    assert.match(text, new RegExp(`the state directory ${agent.folder}/state cannot be looked at`))
    assert.match(remedy, /Give the state directory .* to the service's user/)
    fs.renameSync(gone, `${agent.folder}/state`)
    diskHas(() => 1e12)
    assert.equal(await publish(client, 'm-2'), 0)
    await nothingIsWrong(agent)
    assert.deepEqual(await readAll(t, agent), ['m-1', 'm-2'])
  }
})

test('a commit that fails for want of space is no acknowledgement, and the message is nowhere', async (t) => {
  const agent = new TestAgent(t, `directory: ${temporaryFolder(t)}\n${MQTT}`)
  const faulty = new FaultyStorage(`${agent.folder}/state/spool.db`)
  agent.over = { openStorage: faulty.open }
  await agent.start()
  await subscribeAndLeave(agent)
  const client = await device(t, agent, 'five')
  assert.equal(await publish(client, 'm-1'), 0)
  faulty.faults = [{ when: 'before', code: 'MESH_STORAGE_FULL' }]
  assert.equal(await publish(client, 'no-1'), 0x97)
  assert.equal(await publish(client, 'm-2'), 0)
  await agent.stop()
  await agent.start()
  assert.deepEqual(await readAll(t, agent), ['m-1', 'm-2'])
})

const really = canMount() ? {} : { skip: 'needs the right to mount a tmpfs (root)' }

test('a file system that is really full, to the last block (needs the right to mount)', really, async (t) => {
  const agent = new TestAgent(
    t,
    `directory: ${temporaryFolder(t)}\nmqtt: {spool: {minDiskFreeBytes: 16777216}}\n${MQTT}`,
  )
  const disk = smallDisk(t, 40)
  fs.symlinkSync(disk, `${agent.folder}/state`)
  await agent.start()
  await subscribeAndLeave(agent)
  const client = await device(t, agent, 'five')
  const acked: string[] = []
  let refused = 0
  for (let i = 0; i < 1_000 && refused < 5; i++) {
    const name = `m-${String(i).padStart(4, '0')} `
    const reason = await publish(client, name + 'x'.repeat(100_000))
    if (reason === 0) acked.push(name)
    else {
      refused++
      assert.equal(reason, 0x97)
    }
  }
  assert.ok(acked.length > 50 && refused === 5, `${acked.length} taken, ${refused} refused`)
  assert.ok(
    systemDisk.freeBytes(disk) > 8 * 1024 * 1024,
    'what is needed to make room again is not used up, however fast the disk is',
  )
  assert.equal(
    agent.lines.some((l) => l['evt'] === 'spool.commit'),
    false,
  )

  fill(`${disk}/other`)
  assert.equal(await publish(client, 'no'), 0x97)
  await problem(agent, 'MESH_STORAGE_FULL')
  assert.equal((await agent.ask('/live')).status, 200)
  await agent.stop()
  await agent.start()
  const got = (await readAll(t, agent)).map((m) => m.slice(0, 7))
  assert.deepEqual(got, acked, 'a full disk does not keep anybody from having what is on it')

  // What was read has left room in the spool's own file, which is all that it needs as soon as SQLite's log may grow.
  fs.rmSync(`${disk}/other`)
  const again = await device(t, agent, 'five')
  await until('there is room', async () => (await publish(again, 'again')) === 0)
  assert.deepEqual([agent.status().spool.messages, agent.problems()], [1, ['MESH_STORAGE_FULL']])
  let more = 0
  while (more < 100 && (await publish(again, 'x'.repeat(100_000))) === 0) more++
  assert.ok(more > 50, `${more} more taken`)
  assert.ok(systemDisk.freeBytes(disk) > 8 * 1024 * 1024, 'in the same place')
})

test(
  'a start on a full file system ends with 1, says which disk, and leaves what is there (needs the right to mount)',
  really,
  async (t) => {
    const folder = temporaryFolder(t)
    const state = smallDisk(t, 1)
    fs.writeFileSync(
      `${folder}/agent.yaml`,
      `directory: ${temporaryFolder(t)}\nstate: ${state}\nadmin: {port: 0}\nlog: {level: fatal}\n`,
    )
    fill(`${state}/other`)
    says(await meshlet(['run', '-c', `${folder}/agent.yaml`]), {
      exit: 1,
      code: 'MESH_STORAGE_FULL',
      what: new RegExp(state),
      remedy: /Free space on the disk of the state directory/,
    })
    fs.rmSync(`${state}/other`)
    assert.deepEqual(await meshlet(['run', '-c', `${folder}/agent.yaml`]), { code: 0, out: '', err: '' })
  },
)
