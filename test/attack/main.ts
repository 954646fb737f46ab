/**
 * `npm run attack [-- NAME …] [--seconds N] [--memory MiB]`: every cheap attack against the shipped bundle in a memory
 * cage, while a well-behaved client makes 200 requests and 200 MQTT messages a second. Prints for each: is the process
 * alive, its highest memory (RSS, and what of it is no file's), what the client saw fail, and its p99. Exit code 0 when
 * nothing failed, 1 when something did, 2 for wrong usage. Needs root, for the control group.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { buildIfStale } from '../../tools/build/bundles.ts'
import { readOptions } from '../../tools/options.ts'
import { Attacker, wait } from './attacker.ts'
import { ATTACKS } from './attacks.ts'
import type { Attack } from './attack.ts'
import { startOddEndpoints } from './odd-endpoints.ts'
import { Subject } from './subject.ts'

type Seen = {
  httpSent: number
  httpFailed: number
  mqttSent: number
  mqttFailed: number
  smuggled: number
  why: Record<string, number>
  httpP99Ms: number
  mqttP99Ms: number
}
const AFTERWARDS_MS = 1_000
/**
 * From the unit's MemoryMax on the whole of RSS has to fit; with less, pages of files come and go as the kernel has
 * room.
 */
const RSS_MIB = 256
/** What the figures are when nobody attacks. */
const QUIET: Attack = { name: 'nobody attacks', against: 'memory', run: (_a, _p, ms) => wait(ms) }

const USAGE = `npm run attack -- [NAME …] [--seconds N] [--memory MIB]
NAMEs are parts of:
${ATTACKS.map((one) => `  ${one.against}: ${one.name}`).join('\n')}`
const { values, positionals } = readOptions(
  {
    allowPositionals: true,
    options: { seconds: { type: 'string', default: '5' }, memory: { type: 'string', default: '256' } },
  },
  USAGE,
)
const [seconds, memoryMiB] = [Number(values.seconds), Number(values.memory)]
const chosen = positionals.length
  ? ATTACKS.filter((one) => positionals.some((n) => one.name.includes(n) || one.against === n))
  : ATTACKS
if (!(seconds > 0 && memoryMiB > 0) || chosen.length === 0) {
  console.error(USAGE)
  process.exit(2)
}
if (!buildIfStale()) process.exit(1)

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-attack-'))
try {
  process.exitCode = (await attackAll()) ? 0 : 1
} finally {
  fs.rmSync(folder, { recursive: true })
}

async function attackAll(): Promise<boolean> {
  await using subject = await Subject.start(folder, memoryMiB * 1024 * 1024)
  using _odd = startOddEndpoints(subject.ports.odd, subject.ports.odd2, subject.ports.informational)
  const sampling = setInterval(() => {
    subject.sample()
  }, 50)
  const client = spawn(
    process.execPath,
    [
      path.join(import.meta.dirname, 'good-client.ts'),
      ...[subject.ports.origin, subject.ports.web, subject.ports.mqtt].map(String),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const lines = readline.createInterface({ input: client.stdout })[Symbol.asyncIterator]()
  const report = async (): Promise<Seen> => {
    client.stdin.write('\n')
    return JSON.parse((await lines.next()).value as string) as Seen
  }
  try {
    await wait(3_000)
    await report()
    console.log(
      `${'attack'.padEnd(78)} alive  RSS MiB  own MiB  http failed  p99 ms  mqtt failed  p99 ms  cpu ms/MB  log kB/s`,
    )
    let held = true
    for (const attack of [QUIET, ...chosen]) if (!(await one(attack, subject, report))) held = false
    console.log(held ? 'every attack held' : 'something gave way')
    return held
  } finally {
    clearInterval(sampling)
    client.kill()
    await once(client, 'exit')
  }
}

async function one(attack: Attack, subject: Subject, report: () => Promise<Seen>): Promise<boolean> {
  subject.takePeakMiB()
  const [logBefore, cpuBefore] = [subject.logBytes, subject.alive ? subject.cpuMs() : 0]
  const startedMs = performance.now()
  let got: string | undefined
  const attacker = new Attacker()
  try {
    await attack.run(attacker, subject.ports, seconds * 1_000)
  } catch (err) {
    got = (err as Error).message
  } finally {
    attacker[Symbol.dispose]()
  }
  const lasted = performance.now() - startedMs
  const cpuMs = subject.alive ? subject.cpuMs() - cpuBefore : 0
  await wait(AFTERWARDS_MS)
  const seen = await report()
  const peak = subject.takePeakMiB()
  const sentMB = attacker.sentBytes / 1e6
  const cells = [
    subject.alive ? 'yes' : 'NO',
    peak.rss.toFixed(0),
    peak.own.toFixed(0),
    `${seen.httpFailed}/${seen.httpSent}`,
    seen.httpP99Ms,
    `${seen.mqttFailed}/${seen.mqttSent}`,
    seen.mqttP99Ms,
    sentMB > 0.5 ? (cpuMs / sentMB).toFixed(0) : '-',
    ((subject.logBytes - logBefore) / lasted).toFixed(1),
  ]
  console.log(
    attack.name.padEnd(78) +
      cells.map((cell, i) => String(cell).padStart([6, 9, 9, 13, 8, 13, 8, 11, 10][i]!)).join(''),
  )
  const wrong = [
    ...(got === undefined ? [] : [got]),
    ...(subject.alive ? [] : [`the process ended:\n${subject.log.slice(-2_000)}`]),
    ...(seen.smuggled ? [`${seen.smuggled} requests reached the endpoint that nobody may make`] : []),
    ...((memoryMiB >= RSS_MIB ? peak.rss : peak.own) > memoryMiB
      ? [`${peak.rss.toFixed(0)} MiB, ${peak.own.toFixed(0)} of its own`]
      : []),
    ...(seen.httpFailed + seen.mqttFailed ? [JSON.stringify(seen.why)] : []),
    ...(seen.httpSent === 0 || seen.mqttSent === 0 ? ['the client could do nothing'] : []),
  ]
  for (const what of wrong) console.log(`  ! ${what}`)
  return wrong.length === 0
}
