/**
 * Each bound leaves room for what is usual of the others: the shipped agent in a control group, with all of them used
 * at once. Retained messages, then as many connections as three addresses get, then what waits.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import readline from 'node:readline'
import { ATTACKS } from '../../attack/attacks.ts'
import { Attacker, mqttConnect, wait } from '../../attack/attacker.ts'
import { Subject } from '../../attack/subject.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const MIB = 1024 * 1024
const EACH_MS = 2_000
const SOURCES = ['127.0.0.70', '127.0.0.71', '127.0.0.72']
/** RSS, from the unit's MemoryMax on; with less, pages of files go when the kernel wants. */
const CASES = [
  { limitMib: 256, connections: 4_500, field: 'VmHWM' },
  { limitMib: 96, connections: 1_000, field: 'RssAnon' },
]

for (const { limitMib, connections, field } of CASES)
  test(`${limitMib} MiB: retained messages, ${connections} connections, header blocks, bodies and answers`, async (t) => {
    await using subject = await Subject.start(temporaryFolder(t), limitMib * MIB)
    const { ports, agent } = subject
    const client = spawn(
      process.execPath,
      [`${import.meta.dirname}/../../attack/good-client.ts`, ...[ports.origin, ports.web, ports.mqtt].map(String)],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    t.after(async () => {
      client.kill()
      await once(client, 'exit')
    })
    const lines = readline.createInterface({ input: client.stdout })[Symbol.asyncIterator]()
    using attacker = new Attacker()
    const attack = (name: string, who = attacker): Promise<void> =>
      ATTACKS.find((one) => one.name.includes(name))!.run(who, ports, EACH_MS)
    const peaks: string[] = []
    const note = (what: string): void => {
      assert.ok(subject.alive, `the process ended after ${what}:\n${subject.log.slice(-2_000)}`)
      const kib = Number(
        new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(fs.readFileSync(`/proc/${agent.pid}/status`, 'latin1'))![1],
      )
      peaks.push(`${what} ${Math.round(kib / 1024)}`)
      assert.ok(kib <= limitMib * 1024, `MiB: ${peaks.join(', ')}`)
    }
    await attack('retained messages')
    note('retained')
    for (let i = 0; i < connections && subject.alive; i++) {
      const socket = await attacker.connect(ports.mqtt, SOURCES[i % SOURCES.length])
      void attacker.write(socket.resume(), mqttConnect(`idle-${i}`))
      if (i % 20 === 0) await wait(5)
    }
    note('connections')
    for (const name of ['1,000 header blocks', 'request bodies', 'answers that nobody takes']) {
      using other = new Attacker()
      await attack(name, other)
      note(name)
    }
    t.diagnostic(`${field}, MiB: ${peaks.join(', ')}`)
    client.stdin.write('\n')
    const seen = JSON.parse((await lines.next()).value as string) as Record<string, number>
    assert.deepEqual([seen['httpFailed'], seen['mqttFailed'], seen['smuggled']], [0, 0, 0], JSON.stringify(seen))
  })
