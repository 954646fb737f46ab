/** An operator starts a rollout and watches it in the browser, without a reload, until a poisoned one has stopped. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { REVISIONS, seedDevices, seedRollouts, takeFirstWave } from './fleet.ts'
import { openConsole, SCREENS, shoot, startBrowser, startConsoleHub } from './rig.ts'

test('a poisoned rollout is started, watched until it has stopped by itself, and the fleet goes back', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 40, Date.now())
  const active = await seedRollouts(rig.hub, Date.now())
  const browser = await startBrowser(t)
  const { page, complaints } = await openConsole(browser, rig, { screen: SCREENS[0]! })
  await page.goto(`/rollouts/${active}`)
  await page.getByRole('button', { name: 'Pause' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click()
  await page.locator('.pill', { hasText: 'paused' }).waitFor()
  await page.getByRole('button', { name: 'Abort' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Abort' }).click()
  await page.locator('.pill', { hasText: 'aborted' }).waitFor()

  await page.getByRole('link', { name: 'Rollouts' }).click()
  await page.getByRole('button', { name: `Roll out ${REVISIONS[1]}` }).click()
  await page.getByLabel('Waves: share').fill('25%,100%')
  await page.getByLabel('Stops by itself at').fill('rejected>')
  await page.keyboard.press('Enter')
  await page.getByRole('alert').getByText('expected a number').waitFor()
  await shoot(page, 'rollout-form.desk-light')
  await page.getByLabel('Stops by itself at').fill('rejected>2')
  await page.keyboard.press('Enter')
  await page.getByText('wave 1 of 2').waitFor()
  const started = (await rig.hub.registry.rollouts.active())!
  assert.equal(started.to, REVISIONS[1])

  await page.getByText(/\d of 10 devices have it/).waitFor()
  const wave = await takeFirstWave(rig.hub, started, { refusing: 2 })
  await page.getByText('8 of 10 devices have it').waitFor()
  await page.getByText('2 devices refusing something').waitFor()
  await page.locator('.list li', { hasText: 'rejected>2' }).getByText('2 of 2').waitFor()
  assert.equal((await rig.hub.registry.rollouts.active())?.state, 'running', 'two may refuse')
  await takeFirstWave(rig.hub, started, { refusing: 3 })
  await page
    .getByRole('alert')
    .getByText(/It stopped by itself: rejected>2: 3 of \d+ device/)
    .waitFor()
  await page.locator('.pill', { hasText: 'halted' }).waitFor()
  await shoot(page, 'rollout-halted.desk-light')
  assert.equal(await page.getByRole('button', { name: /Pause|Resume|Abort/ }).count(), 0)
  const { assignments } = await rig.hub.registry.rollouts.desired()
  assert.deepEqual(
    assignments.map(({ revision }) => revision),
    [REVISIONS[0]],
  )
  assert.equal(wave.length, 10)
  await page.getByRole('link', { name: 'Overview' }).click()
  await page
    .getByRole('status')
    .getByText(/rejected>2: 3 of/)
    .waitFor()
  await shoot(page, 'overview-halted.desk-light')
  assert.deepEqual(
    complaints.filter((line) => !line.includes('400')),
    [],
  )
})

test('a viewer of all sees a rollout and decides nothing; one of a namespace has no such view', async (t) => {
  const rig = await startConsoleHub(t)
  await seedDevices(rig.hub, 10, Date.now())
  const active = await seedRollouts(rig.hub, Date.now())
  const browser = await startBrowser(t)
  const viewer = await openConsole(browser, rig, { screen: SCREENS[3]!, grants: [{ namespace: '*', role: 'viewer' }] })
  await viewer.page.goto(`/rollouts/${active}`)
  await viewer.page.getByText('When it stops by itself').waitFor()
  assert.equal(await viewer.page.getByRole('button', { name: /Pause|Abort|differs/ }).count(), 0)
  await viewer.page.goto('/rollouts')
  await viewer.page.getByRole('heading', { name: 'Revisions' }).waitFor()
  assert.equal(await viewer.page.getByRole('button', { name: /Roll out|Start/ }).count(), 0)
  const edge = await openConsole(browser, rig, { screen: SCREENS[2]!, grants: [{ namespace: 'edge', role: 'admin' }] })
  assert.equal(await edge.page.getByRole('link', { name: 'Rollouts' }).count(), 0)
  await edge.page.goto(`/rollouts/${active}`)
  await edge.page
    .getByRole('alert')
    .getByText(/role viewer in all namespaces/)
    .waitFor()
})
