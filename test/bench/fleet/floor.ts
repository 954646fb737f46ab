/** What Node itself takes for a TLS connection that has shaken hands as a device does, and is idle. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { once } from 'node:events'
import { systemClock } from '../../../core/os/clock.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { openCa } from '../../../hub/ca/ca.ts'
import { freePort, rssMiB, startPinned, SUBJECT_CORE, untilListening } from '../measure.ts'
import { sleep } from '../../conformance/programs.ts'

const AT_ONCE = 50
const SETTLE_MS = 5_000
/** As the relay listens; everybody is let in, and nothing is said. */
const SERVER = `
const [file, port] = process.argv.slice(-2)
const { cert, key, ca } = JSON.parse(require('fs').readFileSync(file))
require('tls').createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' },
  (socket) => socket.on('error', () => {}).resume()).listen(Number(port), '127.0.0.1')
`

export async function measureFloor(count: number): Promise<number> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-floor-'))
  const sockets: tls.TLSSocket[] = []
  try {
    const ca = openCa({ folder, disk: systemDisk, clock: systemClock, trustDomain: 'cluster.local' })
    const { chainPem: cert, keyPem: key } = ca.serverCertificate(['127.0.0.1'])
    const file = path.join(folder, 'server.json')
    fs.writeFileSync(file, JSON.stringify({ cert, key, ca: ca.rootsPem }))
    const port = await freePort()
    await using server = startPinned(SUBJECT_CORE, process.execPath, ['-e', SERVER, '--', file, String(port)])
    await untilListening(port, server)
    await sleep(1_000)
    const before = rssMiB(server.pid)
    const open = async (): Promise<void> => {
      while (sockets.length < count) {
        const socket = tls.connect({ port, host: '127.0.0.1', ca: ca.rootsPem, minVersion: 'TLSv1.3' })
        sockets.push(socket)
        await once(socket, 'secureConnect')
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, open))
    await sleep(SETTLE_MS)
    return round(((rssMiB(server.pid) - before) * 1024) / count)
  } finally {
    for (const socket of sockets) socket.destroy()
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

export const round = (figure: number): number => Number(figure.toPrecision(3))
