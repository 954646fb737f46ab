import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { LEFT, findReasonLeft, SAME, TAKEN } from '../../../../agent/cli/mosquitto/options.ts'
import { imported } from './conf.ts'

test('each option is in one table only', () => {
  const all = [TAKEN, SAME, LEFT].flatMap((table) => Object.keys(table))
  assert.deepEqual(all, [...new Set(all)])
})

test('every option of the example that mosquitto is shipped with is known', (t) => {
  const example = '/usr/share/doc/mosquitto/examples/mosquitto.conf'
  if (!fs.existsSync(example)) {
    t.skip('mosquitto is not installed')
    return
  }
  const known = (name: string): boolean =>
    [TAKEN, SAME].some((table) => table[name] !== undefined) || findReasonLeft(name) !== undefined
  const names = [...fs.readFileSync(example, 'utf8').matchAll(/^#([a-z_0-9.]+)(?: |$)/gm)].map(([, name]) => name!)
  assert.ok(names.length > 60, `${names.length} options`)
  assert.deepEqual(
    names.filter((name) => !['listener', 'connection', 'include_dir'].includes(name) && !known(name)),
    [],
  )
})

test('each line that has no place is told once, with its number and what to do', () => {
  const { left, same } = imported(
    'listener 1883\nallow_anonymous true\ncrlfile /crl\nhttp_dir /x\nplugin_opt_a b\nmax_qos 1\nmax_qos 2\nlog_type all\nno_such_thing 1\n',
  )
  assert.deepEqual(
    left.map((line) => line.slice(0, line.indexOf(':'))),
    ['4 http_dir', '5 plugin_opt_a', '9 no_such_thing'],
  )
  for (const line of left) assert.ok(line.length > 30, line)
  assert.deepEqual(
    same.map((line) => line.slice(0, line.indexOf(':'))),
    ['8 log_type', '7 max_qos', '3 crlfile'],
  )
})

test('the names of the man page are known, where it is installed', (t) => {
  let page = ''
  try {
    page = execFileSync('sh', ['-c', 'zcat /usr/share/man/man5/mosquitto.conf.5.gz'], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
  } catch {
    t.skip('mosquitto is not installed')
    return
  }
  const names = [...page.matchAll(/^\\fB([a-z_0-9.\\]+)\\fR/gm)].map(([, name]) => name!.replaceAll('\\', ''))
  assert.ok(names.length > 50, `${names.length}`)
  const unknown = names.filter(
    (name) =>
      TAKEN[name] === undefined &&
      SAME[name] === undefined &&
      findReasonLeft(name) === undefined &&
      // What has no `_` is in the example, or a value.
      name.includes('_') &&
      !['include_dir', 'auth_opt_', 'plugin_opt_', 'mosquitto_passwd'].includes(name),
  )
  assert.deepEqual(unknown, [])
})

// Values as mosquitto takes them: what it takes is a configuration, or told.
for (const [name, section] of Object.entries(TAKEN))
  for (const value of ['0', '1', '5', '20', '1000', '65535', '2147483647', 'true # so', 'false', '-1'])
    test(`${name} ${value} gives a configuration, or is said`, () => {
      const before = section === 'bridge' ? 'connection c\naddress b\ntopic #\n' : ''
      try {
        imported(`allow_anonymous true\nlistener 1884 127.0.0.1\n${before}${name} ${value}\n`)
      } catch (err) {
        assert.equal((err as { code?: string }).code, 'MESH_CONFIG_INVALID', String(err))
      }
    })
