/**
 * `npm run test:istiod [-- NAME …]`: the built agent against a real istiod, one test file at a time. Names pick files.
 * istiod, istioctl and Istio's echo are built once with the machine's Go, some minutes, and kept in .cache
 * (test/conformance/istiod/rig/binaries.ts).
 */
import fs from 'node:fs'
import path from 'node:path'
import { istioBinaries } from '../test/conformance/istiod/rig/binaries.ts'
import { chooseTests, runPeerTests, formatSeconds } from './peer-tests.ts'

process.chdir(path.resolve(import.meta.dirname, '..'))
const chosen = chooseTests('istiod', fs.globSync('test/conformance/istiod/**/*.test.ts').sort(), process.argv.slice(2))
const from = performance.now()
try {
  istioBinaries({
    onBuild: (what) => {
      console.log(`=== istiod: ${what}`)
    },
  })
} catch (err) {
  console.error((err as Error).message)
  process.exit(1)
}
console.log(`=== istiod: at hand after ${formatSeconds(from)}`)
runPeerTests('istiod', chosen, [])
