/** The unit file as systemd itself judges it. Offline: nothing is installed or started. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import { distFile, run, temporaryFolder, type Finally } from '../programs.ts'

const UNIT = path.resolve(import.meta.dirname, '../../../deploy/edge/meshlet.service')
const MAX_EXPOSURE = 1.3

/** Overall exposure of a unit file, 0 (best) to 10, as `systemd-analyze security` counts it. */
async function exposure(unit: string): Promise<{ readonly level: number; readonly out: string }> {
  const { out, err } = await run(findDebianProgram('systemdAnalyze'), ['security', '--offline=yes', '--no-pager', unit])
  const level = /Overall exposure level for [^:]+: ([\d.]+)/.exec(out)?.[1]
  assert.ok(level !== undefined, out + err)
  return { level: Number(level), out }
}

/** The drop-in of docs/istio.md, for a machine with istioctl's files. */
const DROP_IN = /^# systemctl edit meshlet\n([^]*?)^```$/m.exec(
  fs.readFileSync(path.resolve(import.meta.dirname, '../../../docs/istio.md'), 'utf8'),
)![1]!
const ISTIO_FILES = ['cluster.env', 'hosts', 'istio-token', 'mesh.yaml', 'root-cert.pem']

/** The unit with that drop-in where systemd looks for it. */
function withDropIn(t: Finally, change: (text: string) => string): string {
  const runnable = (text: string): string => text.replace('ExecStart=/usr/bin/node', 'ExecStart=/bin/true')
  const unit = variant(t, runnable)
  fs.mkdirSync(`${unit}.d`)
  fs.writeFileSync(path.join(`${unit}.d`, 'override.conf'), change(runnable(DROP_IN)))
  return unit
}

/** A setting's values in file order; an empty one begins anew. */
function valuesOf(setting: string, ...files: readonly string[]): readonly string[] {
  let values: string[] = []
  for (const [, value] of files.join('\n').matchAll(new RegExp(`^${setting}=(.*)$`, 'gm')))
    values = value === '' ? [] : [...values, value!]
  return values
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
  assert.ok(
    level <= MAX_EXPOSURE,
    `${level}\n${out
      .split('\n')
      .filter((l) => l.startsWith('✗'))
      .join('\n')}`,
  )
})

test('the score notices when one line of hardening goes', async (t) => {
  const weaker = await exposure(variant(t, (text) => text.replace('RestrictNamespaces=yes\n', '')))
  assert.ok(weaker.level > (await exposure(UNIT)).level)
})

test('systemd-analyze verify finds no mistake and no unknown setting', async (t) => {
  // /usr/bin/node and the bundle are not on every machine that tests: the check of the executable is given one that is.
  const unit = variant(t, (text) => text.replace('ExecStart=/usr/bin/node', 'ExecStart=/bin/true'))
  const { code, out, err } = await run(findDebianProgram('systemdAnalyze'), [
    'verify',
    '--man=no',
    '--recursive-errors=no',
    unit,
  ])
  assert.deepEqual({ code, said: (out + err).split('\n').filter((l) => l.includes('meshlet')) }, { code: 0, said: [] })
})

test('verify notices an unknown setting, so that its silence means something', async (t) => {
  const unit = variant(t, (text) =>
    text.replace('ExecStart=/usr/bin/node', 'ExecStart=/bin/true').replace('RemoveIPC=yes', 'RemoveIpcs=yes'),
  )
  const { out, err } = await run(findDebianProgram('systemdAnalyze'), [
    'verify',
    '--man=no',
    '--recursive-errors=no',
    unit,
  ])
  assert.match(out + err, /RemoveIpcs/)
})

test('the drop-in of docs/istio.md: verify finds no mistake, and notices one; the exposure stays, and rises with a weaker one', async (t) => {
  const verify = async (unit: string): Promise<string> =>
    run(findDebianProgram('systemdAnalyze'), ['verify', '--man=no', '--recursive-errors=no', unit]).then(
      ({ code, out, err }) => `${code} ${out}${err}`.trim(),
    )
  assert.equal(await verify(withDropIn(t, (text) => text)), '0')
  assert.match(
    await verify(withDropIn(t, (text) => text.replace('LoadCredential=hosts', 'LoadCredentials=hosts'))),
    /Unknown key .*LoadCredentials/,
  )
  const { level } = await exposure(withDropIn(t, (text) => text))
  assert.ok(level <= MAX_EXPOSURE, String(level))
  assert.ok((await exposure(withDropIn(t, (text) => `${text}RestrictNamespaces=no\n`))).level > level)
})

test("with the drop-in there are istioctl's five files and no other: systemd does not start a unit of which a credential is missing", () => {
  const unit = fs.readFileSync(UNIT, 'utf8')
  const credentials = valuesOf('LoadCredential', unit, DROP_IN)
  assert.deepEqual(
    credentials.toSorted(),
    ISTIO_FILES.map((name) => `${name}:/etc/meshlet/istio/${name}`),
  )
  const [before, after, ...more] = [...valuesOf('ExecStart', unit), ...valuesOf('ExecStart', unit, DROP_IN)]
  assert.deepEqual([after, more], [before?.replace('--config /etc/meshlet/agent.yaml', '--istio %d'), []])
})

test('what the drop-in starts takes a folder with those files, readable and nothing else', async (t) => {
  const folder = temporaryFolder(t)
  const sample = path.resolve(import.meta.dirname, '../../golden/istio-folder/auto-registered')
  for (const name of ISTIO_FILES) {
    fs.copyFileSync(path.join(sample, name), path.join(folder, name))
    fs.chmodSync(path.join(folder, name), 0o400)
  }
  fs.chmodSync(folder, 0o500)
  const [, args = ''] = /meshlet\.cjs run (.*)$/.exec(valuesOf('ExecStart', DROP_IN).at(-1)!) ?? []
  const { code, out, err } = await run(process.execPath, [
    distFile('meshlet.cjs'),
    'config',
    'check',
    ...args.replace('%d', folder).split(' '),
  ])
  assert.deepEqual([code, err, out.split('\n')[0]], [0, '', `${folder}: no mistake found (1 listeners)`])
})

const EDGE = path.dirname(UNIT)
const CAPTURE = ['meshlet-capture.socket', 'meshlet-capture-rules.service']

/** The units for capture where systemd looks for them, with the drop-in of meshlet.service. */
function captureUnits(t: Finally, change: (text: string) => string = (text) => text): readonly string[] {
  const unit = variant(t, (text) => text.replace('ExecStart=/usr/bin/node', 'ExecStart=/bin/true'))
  fs.mkdirSync(`${unit}.d`)
  fs.copyFileSync(path.join(EDGE, 'meshlet-capture.conf'), path.join(`${unit}.d`, 'capture.conf'))
  return [
    unit,
    ...CAPTURE.map((name) => {
      const file = path.join(path.dirname(unit), name)
      // As for node: what it starts need not be on the machine that tests.
      fs.writeFileSync(
        file,
        change(fs.readFileSync(path.join(EDGE, name), 'utf8')).replace(
          /^(Exec\w+=-?)\/usr\/sbin\/\S+/gm,
          '$1/bin/true',
        ),
      )
      return file
    }),
  ]
}

test('the units for capture: verify finds no mistake, and notices one; meshlet.service is as little exposed as without', async (t) => {
  const verify = async (units: readonly string[]): Promise<string> =>
    run(findDebianProgram('systemdAnalyze'), ['verify', '--man=no', '--recursive-errors=no', ...units]).then(
      ({ code, out, err }) => `${code} ${out}${err}`.trim(),
    )
  const units = captureUnits(t)
  assert.equal(await verify(units), '0')
  assert.match(
    await verify(captureUnits(t, (text) => text.replace('Transparent=', 'Transparant='))),
    /Unknown key .*Transparant/,
  )
  const { level } = await exposure(units[0]!)
  assert.ok(level <= MAX_EXPOSURE, String(level))
})

test('the units for capture, the rules and istiod mean the same ports, mark and sockets', () => {
  const text = (name: string): string => fs.readFileSync(path.join(EDGE, name), 'utf8')
  const [socket, rulesUnit, rules] = [text(CAPTURE[0]!), text(CAPTURE[1]!), text('meshlet-capture.nft')]
  assert.deepEqual(valuesOf('ListenStream', socket), ['15001', '15006'])
  assert.deepEqual(
    [...rules.matchAll(/tproxy to :(\d+)/g)].map((m) => m[1]),
    ['15001', '15006', '15006'],
  )
  assert.deepEqual(
    [valuesOf('Transparent', socket), valuesOf('Service', socket), valuesOf('Sockets', text('meshlet-capture.conf'))],
    [['yes'], ['meshlet.service'], ['meshlet-capture.socket']],
  )
  const [, self] = /tcp dport \$INBOUND_PORTS meta mark set (\d+) return/.exec(rules)!
  const [, mark] = /ip daddr \$SERVICES .*meta mark set (\d+)/.exec(rules)!
  assert.match(rules, new RegExp(`iif "lo" meta mark ${mark} .*tproxy to :15001`))
  assert.match(rules, new RegExp(`iif "lo" meta mark ${self} .*tproxy to :15006`))
  assert.match(rulesUnit, new RegExp(`^ExecStart=-/usr/sbin/ip rule add fwmark ${mark} lookup 133$`, 'm'))
  assert.match(rulesUnit, /^ExecStart=\/usr\/sbin\/ip route replace local default dev lo table 133$/m)
})

test('what the unit names is what the package ships: paths, credentials and timeouts fit together', () => {
  const unit = fs.readFileSync(UNIT, 'utf8')
  const agent = fs.readFileSync(path.join(path.dirname(UNIT), 'agent.yaml'), 'utf8')
  const credentials = [...unit.matchAll(/^LoadCredential=([^:]+):/gm)].map((m) => m[1])
  for (const [, name] of agent.matchAll(/\$\{CREDENTIALS_DIRECTORY\}\/(\S+)/g))
    assert.ok(credentials.includes(name), `agent.yaml wants the credential ${String(name)}`)
  assert.match(agent, /^state: \/var\/lib\/meshlet$/m)
  assert.match(unit, /^StateDirectory=meshlet$/m)
  assert.match(unit, /^Restart=always$/m)
  // limits.drainMs is 30 s: systemd must not kill before it is over.
  assert.ok(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1]) > 30)
})
