/**
 * `npm run bench -- amplification`: what does one byte of an attacker cost the MQTT broker in memory, on the disk and
 * in CPU?
 */
import type { RunOptions, Trial } from './bench.ts'
import { attacked, mib, perByte } from './amplification/attacked.ts'
import { MQTT_ATTACKS } from './amplification/attacks.ts'
import { table } from './table.ts'

/** Figures to hold, per byte received, and per MB of them. */
export const MOST = { memory: 10, disk: 10, cpuMsPerMb: 200 }

export const amplificationTrial: Trial = {
  kind: 'trial',
  name: 'amplification',
  asks: 'what does one byte of an attacker cost the MQTT broker?',
  cases: Object.fromEntries(Object.entries(MQTT_ATTACKS).map(([name, { about }]) => [name, about])),
  prints:
    `for each attack MiB sent, bytes of memory and of disk per byte received (at most ${MOST.memory} and ${MOST.disk}), milliseconds of CPU per MB (at most ${MOST.cpuMsPerMb}), and what a well-behaved client saw (50 messages a second); ` +
    'fails when the agent ended or the client lost anything. memory and disk are those of the whole agent, CPU without what the client costs',
  options: ['seconds'],
  run,
}

async function run({ cases, seconds, json }: RunOptions): Promise<boolean> {
  let isWell = true
  const rows: string[][] = []
  for (const name of cases) {
    const m = await attacked(MQTT_ATTACKS[name]!, { limitBytes: undefined, ms: seconds * 1000 })
    const per = perByte(m)
    const isServed =
      m.isAlive &&
      m.served.isConnected &&
      m.served.delivered === m.served.sent &&
      m.served.acknowledged === m.served.sent
    isWell &&= isServed
    const over = [
      per.memory > MOST.memory && 'memory',
      per.disk > MOST.disk && 'disk',
      per.cpuMsPerMb > MOST.cpuMsPerMb && 'CPU',
    ]
      .filter(Boolean)
      .join(', ')
    if (json)
      console.log(
        JSON.stringify({
          bench: 'amplification',
          case: name,
          sentMiB: Number(mib(m.sentBytes)),
          memoryPerByte: Number(per.memory.toFixed(2)),
          diskPerByte: Number(per.disk.toFixed(2)),
          cpuMsPerMb: Number(per.cpuMsPerMb.toFixed(0)),
          peakMiB: Number(mib(m.peakRssBytes)),
          p99Ms: Number(m.served.p99Ms.toFixed(1)),
          isServed,
        }),
      )
    else console.error(`${name}: done`)
    rows.push([
      name,
      mib(m.sentBytes),
      per.memory.toFixed(2),
      per.disk.toFixed(2),
      per.cpuMsPerMb.toFixed(0),
      mib(m.peakRssBytes),
      m.served.p99Ms.toFixed(1),
      isServed ? 'yes' : 'NO',
      over,
    ])
  }
  if (!json)
    console.log(
      table(
        ['attack', 'sent MiB', 'memory/byte', 'disk/byte', 'CPU ms/MB', 'peak MiB', 'client p99 ms', 'served', 'over'],
        rows,
        1,
      ),
    )
  return isWell
}
