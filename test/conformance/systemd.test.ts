/** The unit file as systemd itself judges it. Offline: nothing is installed or started. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { debianProgram } from './peers.ts'
import { run, temporaryFolder, type Finally } from './programs.ts'

const UNIT = path.resolve(import.meta.dirname, '../../deploy/edge/meshlet.service')
const MAX_EXPOSURE = 1.3

/** Overall exposure of a unit file, 0 (best) to 10, as `systemd-analyze security` counts it. */
async function exposure(unit: string): Promise<{ readonly level: number; readonly out: string }> {
  const { out, err } = await run(debianProgram('systemdAnalyze'), ['security', '--offline=yes', '--no-pager', unit])
  const level = /Overall exposure level for [^:]+: ([\d.]+)/.exec(out)?.[1]
  assert.ok(level !== undefined, out + err)
  return { level: Number(level), out }
}

/** The unit with lines changed, beside a program and credentials that exist, as `verify` wants. */
function variant(t: Finally, change: (text: string) => string): string {
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'meshlet.service')
  fs.writeFileSync(file, change(fs.readFileSync(UNIT, 'utf8')))
  return file
}

test(`the unit is exposed at most ${MAX_EXPOSURE}`, async () => {
  const { level, out } = await exposure(UNIT)
  assert.ok(level <= MAX_EXPOSURE, `${level}\n${out.split('\n').filter((l) => l.startsWith('✗')).join('\n')}`)
})

test('the score notices when one line of hardening goes', async (t) => {
  const weaker = await exposure(variant(t, (text) => text.replace('RestrictNamespaces=yes\n', '')))
  assert.ok(weaker.level > (await exposure(UNIT)).level)
})

test('systemd-analyze verify finds no mistake and no unknown setting', async (t) => {
  // /usr/bin/node and the bundle are not on every machine that tests: the check of the executable is given one that is.
  const unit = variant(t, (text) => text.replace('ExecStart=/usr/bin/node', 'ExecStart=/bin/true'))
  const { code, out, err } = await run(debianProgram('systemdAnalyze'), ['verify', '--man=no', '--recursive-errors=no', unit])
  assert.deepEqual({ code, said: (out + err).split('\n').filter((l) => l.includes('meshlet')) }, { code: 0, said: [] })
})

test('verify notices an unknown setting, so that its silence means something', async (t) => {
  const unit = variant(t, (text) => text.replace('ExecStart=/usr/bin/node', 'ExecStart=/bin/true').replace('RemoveIPC=yes', 'RemoveIpcs=yes'))
  const { out, err } = await run(debianProgram('systemdAnalyze'), ['verify', '--man=no', '--recursive-errors=no', unit])
  assert.match(out + err, /RemoveIpcs/)
})

test('what the unit names is what the package ships: paths, credentials and timeouts fit together', () => {
  const unit = fs.readFileSync(UNIT, 'utf8')
  const agent = fs.readFileSync(path.join(path.dirname(UNIT), 'agent.yaml'), 'utf8')
  const credentials = [...unit.matchAll(/^LoadCredential=([^:]+):/gm)].map((m) => m[1])
  for (const [, name] of agent.matchAll(/\$\{CREDENTIALS_DIRECTORY\}\/(\S+)/g)) assert.ok(credentials.includes(name), `agent.yaml wants the credential ${String(name)}`)
  assert.match(agent, /^state: \/var\/lib\/meshlet$/m)
  assert.match(unit, /^StateDirectory=meshlet$/m)
  assert.match(unit, /^Restart=always$/m)
  // limits.drainMs is 30 s: systemd must not kill before it is over.
  assert.ok(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1]) > 30)
})
