import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { temporaryFolder } from '../../../helpers/temporary-folder.ts'
import { meshlet } from '../../../scenarios/cli.ts'

const SITE = `per_listener_settings false
allow_anonymous false
password_file FOLDER/passwords
include_dir FOLDER/conf.d
connection cloud
address 127.0.0.1:18830
topic up/# out 1
topic down/# in 1
remote_username site
remote_password s3cret
`
function site(t: Parameters<typeof temporaryFolder>[0], conf = SITE): { folder: string; conf: string } {
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'conf.d'))
  fs.writeFileSync(path.join(folder, 'passwords'), '', { mode: 0o600 })
  fs.writeFileSync(path.join(folder, 'conf.d/10-listener.conf'), 'listener 18831 127.0.0.1\n')
  fs.writeFileSync(path.join(folder, 'conf.d/ignored.txt'), 'nonsense\n')
  fs.writeFileSync(path.join(folder, 'mosquitto.conf'), conf.replaceAll('FOLDER', folder))
  return { folder, conf: path.join(folder, 'mosquitto.conf') }
}

test('agent.yaml, clusters and secrets are written, and config check takes them', async (t) => {
  const { folder, conf } = site(t)
  const yaml = path.join(folder, 'out/agent.yaml')
  fs.mkdirSync(path.dirname(yaml))
  const said = await meshlet(['mqtt', 'import', conf, '-o', yaml])
  assert.deepEqual([said.code, said.out], [0, ''], said.err)
  assert.match(said.err, /mosquitto\.conf: everything was taken\n$/)
  const checked = await meshlet(['config', 'check', '-c', yaml])
  assert.deepEqual([checked.code, checked.err], [0, ''], checked.out)
  assert.match(checked.out, /no mistake found \(1 listeners, 2 mqttRoutes, 1 cluster\)/)
  const secret = path.join(folder, 'out/secrets/bridge-cloud.password')
  assert.equal(fs.readFileSync(secret, 'utf8'), 's3cret\n')
  assert.equal(fs.statSync(secret).mode & 0o777, 0o600)
  assert.equal(fs.statSync(path.dirname(secret)).mode & 0o777, 0o700)
  for (const file of [yaml, path.join(folder, 'out/resources/bridges.json')])
    assert.doesNotMatch(fs.readFileSync(file, 'utf8'), /s3cret/)
})

test('nothing is written over without --force, nothing at all when one file is there', async (t) => {
  const { folder, conf } = site(t)
  const yaml = path.join(folder, 'agent.yaml')
  fs.writeFileSync(yaml, 'mine')
  const refused = await meshlet(['mqtt', 'import', conf, '-o', yaml])
  assert.equal(refused.code, 2)
  assert.match(refused.err, /agent\.yaml is there already; --force/)
  assert.deepEqual([fs.readFileSync(yaml, 'utf8'), fs.existsSync(path.join(folder, 'secrets'))], ['mine', false])
  assert.equal((await meshlet(['mqtt', 'import', conf, '-o', yaml, '--force'])).code, 0)
  assert.match(fs.readFileSync(yaml, 'utf8'), /^# Made by meshlet mqtt import/)
})

test('to standard output, with what was left out on standard error and exit code 1', async (t) => {
  const { conf } = site(t, 'listener 18831\nallow_anonymous true\nhttp_dir /x.so\nlog_dest stdout\n')
  const said = await meshlet(['mqtt', 'import', conf])
  assert.equal(said.code, 1)
  assert.match(said.out, /\nlisteners:\n {2}- name: mqtt-18831\n/)
  const lines = said.err.trim().split('\n')
  assert.match(lines[0]!, /mosquitto\.conf:3: http_dir: left out: no files are served/)
  assert.match(lines[1]!, /mosquitto\.conf:4: log_dest: meshlet logs/)
  assert.match(lines[2]!, /1 lines were left out/)
})

test('a file that is not there is said', async () => {
  const said = await meshlet(['mqtt', 'import', '/nowhere/mosquitto.conf'])
  assert.equal(said.code, 2)
  assert.match(said.err, /there is no file \/nowhere\/mosquitto\.conf/)
})
