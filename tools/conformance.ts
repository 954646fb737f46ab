/**
 * `npm run test:conformance [-- NAME …]`: the built product against real programs, one test file at a time. Names pick
 * files. Needs root on a Debian and the network: what is missing is installed by the tests themselves
 * (test/conformance/peers.ts). A real istiod has a command of its own: `npm run test:istiod`.
 */
import fs from 'node:fs'
import path from 'node:path'
import { runPeerTests } from './peer-tests.ts'

process.chdir(path.resolve(import.meta.dirname, '..'))
runPeerTests(
  'conformance',
  fs
    .globSync('test/conformance/**/*.test.ts')
    .filter((f) => !f.startsWith('test/conformance/istiod/'))
    .sort(),
  process.argv.slice(2),
)
