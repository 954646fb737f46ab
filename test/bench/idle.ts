/** How much memory does each process take that serves nothing yet? RSS 5 s after it listens; cpuUs is per idle second. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { debianProgram } from '../conformance/peers.ts'
import { benchCertificates } from './certificates.ts'
import { httpSubjects } from './http-subjects.ts'
import { cpuNs, freePort, rssMiB, startPinned, SUBJECT_CORE, untilListening, type Row, type RunOptions } from './measure.ts'

export async function* benchIdle(options: RunOptions): AsyncIterable<Row> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-idle-'))
  try {
    const certificates = benchCertificates(dir)
    const originPort = await freePort()
    const mosquitto = { name: 'mosquitto', prepare: ({ port }: { port: number }) => {
      fs.writeFileSync(path.join(dir, 'mosquitto.conf'), `listener ${port} 127.0.0.1\nallow_anonymous true\n`)
      return { command: debianProgram('mosquitto'), args: ['-c', path.join(dir, 'mosquitto.conf')] }
    } }
    for (const subject of [...httpSubjects(), mosquitto].filter((s) => options.only?.includes(s.name) ?? true)) {
      const port = await freePort()
      const { command, args } = subject.prepare({ case: 'mtls', port, originPort, dir, certificates })
      await using running = startPinned(SUBJECT_CORE, command, args)
      await untilListening(port, running)
      await new Promise((resolve) => { setTimeout(resolve, 5_000) })
      const before = cpuNs(running.pid)
      await new Promise((resolve) => { setTimeout(resolve, 2_000) })
      yield { bench: 'idle', case: 'idle', subject: subject.name, cpuUs: (cpuNs(running.pid) - before) / 2 / 1000, perSecond: 0, p50Ms: null, p99Ms: null, rssMiB: rssMiB(running.pid) }
    }
  } finally { fs.rmSync(dir, { recursive: true, force: true }) }
}
