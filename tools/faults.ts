/**
 * `npm run test:faults [-- PART …]`: what becomes of acknowledged messages over damage, kills, power cuts, links and
 * disks that fail. `--list` prints the parts; a part is any piece of their names, as `kills/eco`. All of them take half
 * an hour at most; a C compiler, strace and root are needed for some, which say so when they are skipped.
 */
import fs from 'node:fs'
import path from 'node:path'
import { runPeerTests } from './peer-tests.ts'

process.chdir(path.resolve(import.meta.dirname, '..'))
const files = fs.globSync('test/faults/**/*.test.ts').sort()
const named = process.argv.slice(2)
if (named.includes('--list'))
  console.log(files.map((file) => file.slice('test/faults/'.length, -'.test.ts'.length)).join('\n'))
else runPeerTests('faults', files, named)
