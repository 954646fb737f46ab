/**
 * `npm run test:envoy [-- [--pairs N] [--seed S]]`: routes, policies and requests by chance, over HTTP/1.1 and HTTP/2; Envoy and the shipped
 * bundle must give the same answers and send the same requests on. What they treat differently on purpose stands in
 * docs/differences.md. Prints the first difference, shrunk. Exit code 0, 1 (there is one), 2 (wrong usage).
 */
import { inspect } from 'node:util'
import { buildIfStale } from '../../../../tools/build/bundles.ts'
import { readOptions } from '../../../../tools/options.ts'
import { comparePairs } from './pairs.ts'
import { bytesOf } from './requests.ts'

const USAGE = 'npm run test:envoy -- [--pairs WHOLE NUMBER] [--seed WHOLE NUMBER]'
const { values } = readOptions(
  {
    options: {
      pairs: { type: 'string', default: '20000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    },
  },
  USAGE,
)
const [pairs, seed] = [Number(values.pairs), Number(values.seed)]
if (!(Number.isInteger(pairs) && pairs > 0 && Number.isInteger(seed))) {
  console.error(USAGE)
  process.exit(2)
}
if (!buildIfStale()) process.exit(1)

/** Both keep a port for each table. */
const PAIRS_AT_ONCE = 5_000
let asked = 0
for (let round = 0; asked < pairs && process.exitCode === undefined; round++) {
  const codec = round % 2 === 0 ? 'http1' : 'http2'
  const compared = await comparePairs(codec, seed + round, Math.min(PAIRS_AT_ONCE, pairs - asked))
  asked += compared.pairs
  const { difference } = compared
  if (!difference) continue
  const { configuration, request, envoy, meshlet } = difference
  console.log(`seed ${seed + round}, ${codec}, after ${compared.pairs} pairs: a difference, shrunk`)
  console.log(inspect(configuration, { depth: Infinity, breakLength: 120 }))
  console.log(JSON.stringify(bytesOf(request)))
  console.log('Envoy  ', inspect(envoy, { depth: Infinity, breakLength: 120 }))
  console.log('meshlet', inspect(meshlet, { depth: Infinity, breakLength: 120 }))
  process.exitCode = 1
}
console.log(`envoy: seed ${seed}, ${asked} pairs, ${process.exitCode === 1 ? 'one differs' : 'none differs'}`)
