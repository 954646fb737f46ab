/**
 * istiod, istioctl and Istio's echo, built from ./peer with the machine's Go. What was built is kept in .cache/istiod
 * under a hash of the module's files and of Go's version: a second run builds nothing.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'

const MODULE = path.join(import.meta.dirname, 'peer')
const CACHE = path.resolve(import.meta.dirname, '../../../../.cache/istiod')
const PACKAGES = [
  '.',
  'istio.io/istio/istioctl/cmd/istioctl',
  'istio.io/istio/pkg/test/echo/cmd/server',
  'istio.io/istio/pkg/test/echo/cmd/client',
]
/**
 * As Istio's releases: with vtprotobuf the same resource comes with other bytes each time, which is what an agent has
 * to cope with.
 */
const BUILD = ['build', '-buildvcs=false', '-tags=vtprotobuf,disable_pgv', '-ldflags=-s -w']
/** Where Go's own installer and Debian put it, for a PATH that does not know. */
const GO_PLACES = ['go', '/usr/local/go/bin/go', '/usr/lib/go/bin/go', '/usr/bin/go']
/** From here on Go fetches the toolchain that a module asks for. */
const FIRST_WITH_TOOLCHAINS = [1, 21]
const GO_ADVICE =
  'Install Go from https://go.dev/dl into /usr/local/go, or `apt-get install golang-go`: from 1.21 on it fetches the newer toolchain by itself through the Go module proxy.'

export type IstioBinaries = {
  readonly istiod: string
  readonly istioctl: string
  readonly echoServer: string
  readonly echoClient: string
}

/**
 * Builds what is not there yet: four minutes on 2 cores and 300 MB of modules. Throws with what is missing and what to
 * do.
 */
export function istioBinaries({ onBuild }: { readonly onBuild?: (what: string) => void } = {}): IstioBinaries {
  const go = findGo()
  const folder = path.join(CACHE, contentHash(go.version))
  if (!fs.existsSync(folder)) {
    onBuild?.(`building with ${go.version}, some minutes`)
    build(go, folder)
  }
  return {
    istiod: path.join(folder, 'istiod-peer'),
    istioctl: path.join(folder, 'istioctl'),
    echoServer: path.join(folder, 'server'),
    echoClient: path.join(folder, 'client'),
  }
}

type Go = { readonly program: string; readonly version: string; readonly toolchain: string | undefined }

function findGo(): Go {
  const needed = /^go (\d+\.\d+(?:\.\d+)?)$/m.exec(fs.readFileSync(path.join(MODULE, 'go.mod'), 'utf8'))![1]!
  for (const program of GO_PLACES) {
    // Outside the module, so that it tells its own version.
    const { status, stdout } = spawnSync(program, ['version'], { cwd: '/', encoding: 'utf8' })
    const version = status === 0 ? /go(\d+\.\d+(?:\.\d+)?)/.exec(stdout)?.[1] : undefined
    if (version === undefined) continue
    if (isAtLeast(version, numbers(needed))) return { program, version: stdout.trim(), toolchain: undefined }
    if (isAtLeast(version, FIRST_WITH_TOOLCHAINS))
      return { program, version: `go version go${needed} by ${stdout.trim()}`, toolchain: `go${needed}` }
    throw new Error(
      `istiod is built with Go ${needed} or newer; ${program} is ${version}, too old to fetch that by itself. ${GO_ADVICE}`,
    )
  }
  throw new Error(`istiod is built with Go ${needed} or newer, and this machine has none. ${GO_ADVICE}`)
}

const numbers = (version: string): number[] => version.split('.').map(Number)
function isAtLeast(version: string, least: readonly number[]): boolean {
  const has = numbers(version)
  for (const [i, want] of least.entries()) if ((has[i] ?? 0) !== want) return (has[i] ?? 0) > want
  return true
}

function contentHash(goVersion: string): string {
  const hash = createHash('sha256').update(JSON.stringify([goVersion, BUILD, PACKAGES]))
  for (const file of fs.readdirSync(MODULE).sort())
    hash.update(`${file}\0`).update(fs.readFileSync(path.join(MODULE, file)))
  return hash.digest('hex').slice(0, 16)
}

function build(go: Go, folder: string): void {
  const unfinished = `${folder}.new`
  fs.rmSync(unfinished, { recursive: true, force: true })
  fs.mkdirSync(unfinished, { recursive: true })
  const { status, error } = spawnSync(go.program, [...BUILD, '-o', `${unfinished}/`, ...PACKAGES], {
    cwd: MODULE,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...(go.toolchain === undefined ? {} : { GOTOOLCHAIN: go.toolchain }) },
  })
  if (status !== 0)
    throw new Error(
      `the build of istiod failed${error ? `: ${error.message}` : ''}. It needs the Go module proxy (\`go env GOPROXY\`) and 2 GB of disk`,
    )
  for (const old of fs.readdirSync(CACHE))
    if (path.join(CACHE, old) !== unfinished) fs.rmSync(path.join(CACHE, old), { recursive: true })
  fs.renameSync(unfinished, folder)
}
