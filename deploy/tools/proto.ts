/** `npm run proto`: control-sync/proto/**.proto → control-sync/proto/gen/**_pb.ts. Runs offline: buf and protoc-gen-es come from node_modules. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '../..')
const bin = path.join(root, 'node_modules/.bin')
const out = path.join(root, 'control-sync/proto/gen')

const template = {
  version: 'v2', clean: true,
  plugins: [{ local: path.join(bin, 'protoc-gen-es'), out, opt: ['target=ts', 'import_extension=ts', 'erasable_syntax=true'] }],
}
execFileSync(path.join(bin, 'buf'), ['generate', path.join(root, 'control-sync/proto'), '--template', JSON.stringify(template)], { cwd: root, stdio: 'inherit' })
console.log(`control-sync/proto/gen: ${fs.globSync('**/*_pb.ts', { cwd: out }).length} files`)
