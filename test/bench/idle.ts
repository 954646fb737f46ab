/** How much memory does each process take that serves nothing yet? */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { findDebianProgram } from '../../tools/debian.ts'
import { benchCertificates } from './certificates.ts'
import { BUNDLE, meshletHttp } from './http/meshlet.ts'
import { httpSubjects } from './http/subjects.ts'
import { installBundle } from './install.ts'
import { cpuNs, freePort, rssMiB, startPinned, SUBJECT_CORE, untilListening } from './measure.ts'
import { type NoRow, type PeerBench, type Row, rowOf, type RunOptions } from './bench.ts'
import { sleep } from '../conformance/programs.ts'

const SETTLE_MS = 5_000
const WATCHED_MS = 2_000

export const idleBench: PeerBench = {
  kind: 'peers',
  name: 'idle',
  asks: 'what does a process cost that serves nothing?',
  cases: {
    idle: `${SETTLE_MS / 1000} s after it listens, no connection; the second start, as after every boot of a device but the first; meshlet after meshlet precompile`,
  },
  subjects: [...httpSubjects().map((s) => s.name), 'mosquitto'],
  prints: 'RSS, and as CPU the microseconds per idle second',
  options: ['only', 'before'],
  rows,
}

async function* rows(options: RunOptions): AsyncIterable<Row | NoRow> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-idle-'))
  try {
    const certificates = benchCertificates(dir)
    const originPort = await freePort()
    const mosquitto = {
      name: 'mosquitto',
      prepare: ({ port }: { port: number }) => {
        fs.writeFileSync(path.join(dir, 'mosquitto.conf'), `listener ${port} 127.0.0.1\nallow_anonymous true\n`)
        return { command: findDebianProgram('mosquitto'), args: ['-c', path.join(dir, 'mosquitto.conf')] }
      },
    }
    const installed = installBundle(BUNDLE, dir)
    const meshlets = [
      ...(options.before === undefined ? [] : [meshletHttp('before', installBundle(options.before, dir))]),
      meshletHttp('meshlet', installed),
      meshletHttp('meshlet-sidecar', installed, true),
    ]
    const peers = httpSubjects().filter((s) => !s.name.startsWith('meshlet'))
    const isAsked = (name: string): boolean => name === 'before' || options.subjects.includes(name)
    for (const subject of [...meshlets, ...peers, mosquitto].filter((s) => isAsked(s.name))) {
      const port = await freePort()
      yield await rowOf(
        { bench: 'idle', case: 'idle', subject: subject.name },
        () => subject.prepare({ case: 'mtls', port, originPort, collectorPort: originPort, dir, certificates }),
        async ({ command, args }) => {
          {
            await using first = startPinned(SUBJECT_CORE, command, args)
            await untilListening(port, first)
            await sleep(SETTLE_MS)
          }
          await using running = startPinned(SUBJECT_CORE, command, args)
          await untilListening(port, running)
          await sleep(SETTLE_MS)
          const before = cpuNs(running.pid)
          await sleep(WATCHED_MS)
          return {
            cpuUs: (cpuNs(running.pid) - before) / WATCHED_MS,
            perSecond: 0,
            p50Ms: null,
            p99Ms: null,
            rssMiB: rssMiB(running.pid),
          }
        },
      )
    }
  } finally {
    fs.rmSync(dir, { recursive: true, force: true })
  }
}
