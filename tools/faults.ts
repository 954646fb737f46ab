/**
 * `npm run test:faults [-- NAME …]`: what becomes of acknowledged messages over damage, kills, power cuts and disks that
 * fail. Names pick files. A quarter of an hour; needs a C compiler for the disks that fail.
 */
import fs from 'node:fs'
import path from 'node:path'
import { runPeerTests } from './peer-tests.ts'

process.chdir(path.resolve(import.meta.dirname, '..'))
runPeerTests('faults', fs.globSync('test/faults/**/*.test.ts').sort(), process.argv.slice(2))
