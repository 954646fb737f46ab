/**
 * A small Debian with systemd as a folder, made once with debootstrap from the machine's own mirror and kept in .cache.
 * Needs root and a Debian.
 */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { findDebianProgram } from '../../tools/debian.ts'

const CACHE = path.resolve(import.meta.dirname, '../../.cache/device')
const SUITE = 'bookworm'
/** Those that Node links to, and what a person at a device has. */
const PACKAGES = ['systemd', 'systemd-sysv', 'dbus', 'iproute2', 'ca-certificates', 'curl', 'libstdc++6', 'libatomic1']

/** @returns the folder; nobody writes to it (machine.ts lays another over it) */
export function debianRoot(): string {
  const root = path.join(CACHE, `debian-${SUITE}-${PACKAGES.length}`)
  const marker = `${root}.made`
  if (fs.existsSync(marker)) return root
  fs.rmSync(root, { recursive: true, force: true })
  fs.mkdirSync(CACHE, { recursive: true })
  execFileSync(
    findDebianProgram('debootstrap'),
    ['--variant=minbase', `--include=${PACKAGES.join(',')}`, SUITE, root, mirror()],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  fs.copyFileSync(process.execPath, path.join(root, 'usr/bin/node'))
  fs.writeFileSync(marker, '')
  return root
}

/** The mirror that this machine's apt uses for Debian. */
function mirror(): string {
  const targets = execFileSync(
    'apt-get',
    ['indextargets', '--format', '$(REPO_URI) $(CODENAME)', 'Created-By: Packages', 'Label: Debian'],
    { encoding: 'utf8' },
  )
  const found = targets
    .split('\n')
    .map((line) => line.split(' '))
    .find(([, codename]) => codename === SUITE)?.[0]
  if (found === undefined)
    throw new Error(`apt knows no mirror of Debian ${SUITE}: run apt-get update on a Debian ${SUITE}`)
  return found
}
