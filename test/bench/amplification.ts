/**
 * `npm run bench -- amplification`: what does one byte of an attacker cost the MQTT broker in memory, on the disk and
 * in CPU, and what does it cost mosquitto?
 */
import { messageOf, type RunOptions, type Trial } from './bench.ts'
import { attacked, type Broker, BROKER_NAMES, type Measured, mib, perByte } from './amplification/attacked.ts'
import { MQTT_ATTACKS } from './amplification/attacks.ts'
import { table } from './table.ts'

/** Figures to hold, per byte received, and per MB of them. */
export const MOST = { memory: 10, disk: 10, cpuMsPerMb: 200 }

export const amplificationTrial: Trial = {
  kind: 'trial',
  name: 'amplification',
  asks: 'what does one byte of an attacker cost the MQTT broker?',
  cases: Object.fromEntries(Object.entries(MQTT_ATTACKS).map(([name, { about }]) => [name, about])),
  subjects: BROKER_NAMES,
  prints:
    `for each attack MiB sent, bytes of memory and of disk per byte received (at most ${MOST.memory} and ${MOST.disk}), milliseconds of CPU per MB (at most ${MOST.cpuMsPerMb}), and what a well-behaved client saw (50 messages a second); of attacks by connections, which limits count, what each of them costs; ` +
    'fails when the agent ended or the client lost anything. memory and disk are those of the whole process, CPU without what the client costs; mosquitto runs without persistence, and is not judged',
  options: ['seconds', 'only'],
  run,
}

async function run({ cases, subjects, seconds, json }: RunOptions): Promise<boolean> {
  let isWell = true
  const rows: string[][] = []
  for (const name of cases)
    for (const broker of subjects as readonly Broker[]) {
      const m = await measured(name, broker, seconds)
      if (!m) continue
      if (broker === 'meshlet') isWell &&= isServed(m)
      if (json) console.log(JSON.stringify({ bench: 'amplification', case: name, subject: broker, ...figures(m) }))
      else console.error(`${name} ${broker}: done`)
      rows.push(row(name, broker, m))
    }
  if (!json) console.log(table(HEAD, rows, 2))
  return isWell
}

/** @returns undefined when the peer cannot be had */
async function measured(name: string, broker: Broker, seconds: number): Promise<Measured | undefined> {
  try {
    return await attacked(MQTT_ATTACKS[name]!, { limitBytes: undefined, ms: seconds * 1000, broker })
  } catch (err) {
    if (broker === 'meshlet') throw err
    console.error(`${name} ${broker}: ${messageOf(err)}`)
    return undefined
  }
}

function isServed({ isAlive, served }: Measured): boolean {
  return isAlive && served.isConnected && served.delivered === served.sent && served.acknowledged === served.sent
}

function figures(m: Measured): Readonly<Record<string, number | boolean>> {
  const per = perByte(m)
  return {
    sentMiB: Number(mib(m.sentBytes)),
    memoryPerByte: Number(per.memory.toFixed(2)),
    diskPerByte: Number(per.disk.toFixed(2)),
    cpuMsPerMb: Number(per.cpuMsPerMb.toFixed(0)),
    peakMiB: Number(mib(m.peakRssBytes)),
    p99Ms: Number(m.served.p99Ms.toFixed(1)),
    isServed: isServed(m),
  }
}

const HEAD = [
  'attack',
  'broker',
  'sent MiB',
  'memory/byte',
  'disk/byte',
  'CPU ms/MB',
  'peak MiB',
  'client p99 ms',
  'served',
  'over',
]
function row(name: string, broker: Broker, m: Measured): string[] {
  const per = perByte(m)
  const { connections } = MQTT_ATTACKS[name]!
  const over = connections
    ? [`${(m.grownBytes / connections / 1024).toFixed(1)} KiB, ${(m.cpuMs / connections).toFixed(2)} ms each`]
    : [per.memory > MOST.memory && 'memory', per.disk > MOST.disk && 'disk', per.cpuMsPerMb > MOST.cpuMsPerMb && 'CPU']
  return [
    name,
    broker,
    mib(m.sentBytes),
    per.memory.toFixed(2),
    per.disk.toFixed(2),
    per.cpuMsPerMb.toFixed(0),
    mib(m.peakRssBytes),
    m.served.p99Ms.toFixed(1),
    isServed(m) ? 'yes' : 'NO',
    over.filter(Boolean).join(', '),
  ]
}
