/**
 * Keys as somebody without a mouse presses them. A page answers a key when it comes to it, so nothing here says where the
 * focus is: it waits until the focus is there, and a key goes to a dialog when the dialog has the focus.
 */
import assert from 'node:assert/strict'
import type { Page } from 'playwright-core'

const TRIES = 1_500
const STEP_MS = 20

const readFocused = (page: Page): Promise<string> =>
  page.evaluate(
    '(document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "").trim().slice(0, 60)',
  )

/** Fails after half a minute. */
export async function untilFocused(page: Page, wanted: string | ((name: string) => boolean)): Promise<void> {
  const isIt = typeof wanted === 'string' ? (name: string) => name === wanted : wanted
  for (let i = 0; i < TRIES; i++) {
    if (isIt(await readFocused(page))) return
    await page.waitForTimeout(STEP_MS)
  }
  assert.fail(`${String(wanted)} has not got the focus; ${await readFocused(page)} has`)
}

/** Tab until the element of this name has the focus. */
export async function tabTo(page: Page, name: string, most = 60): Promise<void> {
  const seen: string[] = []
  for (let i = 0; i < most; i++) {
    await page.keyboard.press('Tab')
    seen.push(await readFocused(page))
    if (seen.at(-1) === name) return
  }
  assert.fail(`${name} is not reached by Tab; there are: ${seen.join(' | ')}`)
}

/** Enter on what has the focus opens the dialog of this title, which then has the focus. */
export async function enterDialog(page: Page, title: string): Promise<void> {
  await page.keyboard.press('Enter')
  await untilInDialog(page, title)
}

export async function untilInDialog(page: Page, title: string): Promise<void> {
  await page.getByRole('dialog', { name: title }).waitFor()
  await page.waitForFunction('document.querySelector("dialog[open]")?.contains(document.activeElement) === true')
}

/** Escape closes whichever is open, and leads back to what opened it. */
export async function escapeDialog(page: Page, back: string): Promise<void> {
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await untilFocused(page, back)
}
