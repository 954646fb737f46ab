import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ReportDetails } from '../../../../model/fleet/report-details.ts'
import { DETAILS } from '../../../helpers/control-plane/report.ts'
import { hubCli } from '../hub-cli.ts'
import { fill } from './fill.ts'

const PROBLEM = { code: 'MESH_STORAGE_FULL', text: 'the disk \u001b[2J is full' }

test('a device is shown with its report, its history, what is wrong and what to do', async (t) => {
  const { cli, config, folder } = hubCli(t)
  await cli('devices', '-c', config)
  await fill(folder, [{ name: 'gw-1', connected: true, report: { problems: [PROBLEM] }, labels: { site: 'north' } }])
  const { out } = await cli('device', 'show', 'gw-1', '-c', config)
  assert.match(out, /^device +gw-1, .* from 10\.0\.0\.7\n/)
  assert.match(out, /\nlabels +site=north\n/)
  assert.match(out, /\nconfiguration +0011223344556677, all that it was sent is in force\n/)
  assert.match(out, /\nlink +48 ms there and back, 3 connections\n/)
  assert.match(out, /\nlast day +1 connections, 900 bytes, 12 requests, 1 failed, spool at most 3\n/)
  assert.match(out, /\n! MESH_STORAGE_FULL: the disk \\u001b\[2J is full\n {2}\S/)
  assert.match(out, /connected {2}over the relay\n$/)
  const shown = JSON.parse((await cli('device', 'show', 'gw-1', '-o', 'json', '-c', config)).out) as {
    row: { name: string }
  }
  assert.equal(shown.row.name, 'gw-1')
})

test('its services and queues have a line each, the worst first, and what is not named is counted', async (t) => {
  const { cli, config, folder } = hubCli(t)
  await cli('devices', '-c', config)
  const [first, ...others] = DETAILS.services.rows
  const details: ReportDetails = {
    services: { rows: [first!, ...others.slice(0, 1), { ...others[2]!, name: 'x\u001b[2J', healthy: 0 }], more: 4 },
    queues: { rows: DETAILS.queues.rows, more: { queues: 2, messages: 3, bytes: 40, drops: 1 } },
  }
  await fill(folder, [
    { name: 'gw-1', connected: true, report: { details } },
    { name: 'gw-2', connected: true },
  ])
  const { out } = await cli('device', 'show', 'gw-1', '-c', config)
  const services = out.split('\n').filter((line) => line.startsWith('service '))
  assert.match(services[0]!, /^service +x\\u001b\[2J: down, 0 of 3 endpoints healthy, 4 connections$/)
  assert.match(services[1]!, /inbound\|8080\|\|: connected, 1 of 1 endpoints healthy, 2 connections$/)
  assert.match(
    out,
    /\n +4 more services\nqueue +session hmi-1: away, 412 messages, 33120 bytes, 0 dropped, holds some since /,
  )
  assert.match(out, /queue +bridge outbound\S+\/gw-17: connected, 0 messages, 0 bytes, 0 dropped\n/)
  assert.match(out, /\n +2 more queues: 3 messages, 40 bytes, 1 dropped\n/)
  const json = JSON.parse((await cli('device', 'show', 'gw-1', '-o', 'json', '-c', config)).out) as {
    stored: { report: { details: ReportDetails } }
  }
  assert.deepEqual(json.stored.report.details.queues.more, details.queues.more)
  const asked = async (where: string) => (await cli('devices', '--where', where, '-o', 'csv', '-c', config)).out
  assert.match(await asked('queue>400 and down>0'), /\ngw-1,/)
  assert.doesNotMatch(await asked('queue>400 and down>0'), /\ngw-2,/)
  assert.match(await asked('queue=none'), /\ngw-2,/)
})

test('a device that never reported says so, and a name that is not known is wrong usage', async (t) => {
  const { cli, config, folder } = hubCli(t)
  await cli('devices', '-c', config)
  await fill(folder, [{ name: 'gw-1', connected: false }])
  assert.match((await cli('device', 'show', 'gw-1', '-c', config)).out, /It has not reported/)
  assert.equal((await cli('device', 'show', "x' OR '1'='1", '-c', config)).code, 2)
})

test('watch tells what has happened, and stops when it is asked to', async (t) => {
  const { cli, config, folder } = hubCli(t)
  await cli('devices', '-c', config)
  await fill(folder, [
    { name: 'gw-1', connected: true, labels: { site: 'north' } },
    { name: 'gw-2', connected: true, labels: { site: 'south' } },
  ])
  const { out, code } = await cli('watch', '-c', config)
  assert.equal(code, 0)
  assert.match(out, /Z {2}gw-1 {2}connected {2}over the relay\n.*Z {2}gw-2 /)
  const south = await cli('watch', '--label', 'site=south', '-o', 'json', '-c', config)
  assert.deepEqual(
    south.out
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { devices: string[] }).devices),
    [['gw-2']],
  )
})
