/**
 * `npm run test:device [-- NAME …]`: the runbook, typed on machines that boot a Debian (systemd-nspawn). Names pick
 * files. Needs root on a Debian and the network: debootstrap makes the Debian once, a minute and a half, and keeps it
 * in .cache/device.
 */
import fs from 'node:fs'
import path from 'node:path'
import { runPeerTests } from './peer-tests.ts'

process.chdir(path.resolve(import.meta.dirname, '..'))
runPeerTests('device', fs.globSync('test/device/*.test.ts').sort(), process.argv.slice(2))
