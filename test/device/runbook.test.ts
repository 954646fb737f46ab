/**
 * The runbook, typed step by step as it stands, on machines that boot a Debian: what an operator with nothing else in
 * hand would see.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { runbookBlocks } from './runbook.ts'
import { DESK, Site } from './site.ts'

/** The unit is killed after 90 s without READY=1. */
const UNIT_START_MS = 90_000

test('every section that says what to type is typed by a test here', () => {
  const typed =
    fs.readFileSync(import.meta.filename, 'utf8') + fs.readFileSync(path.join(import.meta.dirname, 'site.ts'), 'utf8')
  assert.deepEqual(
    runbookBlocks()
      .map((b) => b.section)
      .filter((s) => !typed.includes(`type('${s}'`)),
    [],
  )
})

test('hub, install, check, join with a token file, look, upgrade, stop, remove', async (t) => {
  const site = await Site.joined(t)
  const { device, hub } = site
  await site.serves()
  await site.reachesApp()
  assert.match(await site.devices(), /^edge-1 +connected /m)
  assert.match(await hub.must('curl -s 127.0.0.1:15014/metrics'), /^mesh_hub_ads_streams 1$/m)
  const { certificate } = await site.status()
  assert.equal(certificate?.spiffeId, 'spiffe://cluster.local/ns/edge/sa/gateway')
  assert.deepEqual(
    (await device.must('journalctl -u meshlet -o json --output-fields=SYSLOG_IDENTIFIER,PRIORITY --no-pager -n 200'))
      .split('\n')
      .filter((l) => l !== '')
      .map((l) => (JSON.parse(l) as { SYSLOG_IDENTIFIER?: string }).SYSLOG_IDENTIFIER)
      .filter((id) => id !== 'meshlet' && id !== 'systemd' && id !== '(node)'),
    [],
  )
  assert.match(await device.must('journalctl -u meshlet -p info -o cat --no-pager'), /"evt":"agent\.started"/)

  await site.type('Upgrade')
  await site.serves()
  assert.equal((await site.status()).certificate?.serial, certificate.serial)
  await device.must('rm /etc/meshlet/token && systemctl restart meshlet')
  await site.serves()

  await device.must('systemctl stop meshlet')
  assert.equal((await device.must('systemctl show -p Result --value meshlet')).trim(), 'success')
  assert.doesNotMatch(
    await device.journal('meshlet'),
    /Failed with result|status=[1-9]|timed out|systemd-notify failed/,
  )

  await site.type('Remove')
  assert.equal(
    await device.must(
      `find / -xdev -path /proc -prune -o -name "*meshlet*" -not -path "/${DESK}/*" -not -path "*/journal/*" -print`,
    ),
    '',
  )
  assert.doesNotMatch(await site.devices(), /edge-1/)
})

test('join from standard input, before the first start; the token is never on the disk', async (t) => {
  const site = await Site.joined(t, 'standard-input')
  await site.serves()
  assert.equal((await site.device.run('ls /etc/meshlet/token')).code, 2)
  await site.device.reboot()
  await site.serves()
  await site.reachesApp()
})

test('boots: with and without the link, with the address late, changed or missing', async (t) => {
  const site = await Site.joined(t)
  const { device, cable } = site
  const seenAt = (line: RegExp, withinMs = 30_000): Promise<unknown> =>
    site.hub.until('sees the device at its address', 'runuser -u meshlet-hub -- meshlet-hub devices', line, withinMs)
  const boot = async (): Promise<void> => {
    await device.boot('none')
    await site.serves(UNIT_START_MS)
    t.diagnostic(`READY=1 came ${await site.readyMs()} ms after exec`)
    // Nothing that waits for the network holds up the machine.
    await device.until('has finished booting', 'systemctl is-system-running || true', /running|degraded/)
    assert.equal((await device.must('systemctl show -p NRestarts --value meshlet')).trim(), '0')
  }
  await t.test('with the link', async () => {
    await device.halt()
    await boot()
    await site.reachesApp()
  })
  await t.test('without the link', async () => {
    await device.halt()
    cable.pull()
    await boot()
    assert.equal((await site.status()).config.stale, true)
    cable.plug()
    await site.reachesApp()
  })
  await t.test('without an address, which comes late', async () => {
    await device.halt()
    site.moveTo('')
    await boot()
    assert.match((await device.run('meshlet status')).out, /address/, 'status says what is waited for')
    site.moveTo('10.1.0.3/24')
    await site.reachesApp()
    await seenAt(/^edge-1 +connected .* 10\.1\.0\.3 /m)
  })
  await t.test('with another address than before, and one that changes while it runs', async () => {
    await device.halt()
    site.moveTo('10.1.0.4/24')
    await boot()
    await seenAt(/^edge-1 +connected .* 10\.1\.0\.4 /m)
    site.moveTo('10.1.0.5/24')
    await seenAt(/^edge-1 +connected .* 10\.1\.0\.5 /m, 60_000)
    await site.reachesApp()
  })
  await t.test('after a power cut', async () => {
    await device.cutPower()
    await boot()
    await site.reachesApp()
  })
})
