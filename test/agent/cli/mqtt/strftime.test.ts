import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { formatTimeConversion } from '../../../../agent/cli/mqtt/strftime.ts'

const LETTERS = 'aAbBCdDeFgGhHIjklmMpPrRsSTuUVwWxXyYzZc'.split('')

// date(1) has glibc's strftime; days on which week and year disagree are among them.
for (const day of [
  '2026-11-29T19:07:05',
  '2024-12-30T00:00:00',
  '2021-01-03T12:00:09',
  '2028-02-29T23:59:59',
  '2027-01-01T01:00:00',
])
  test(`${day} as date(1) writes it`, () => {
    const before = process.env['TZ']
    process.env['TZ'] = 'UTC'
    try {
      const written = execFileSync('date', ['-d', day, `+${LETTERS.map((l) => `%${l}`).join('|')}`], {
        env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
        encoding: 'utf8',
      })
      const at = new Date(`${day}Z`)
      assert.equal(LETTERS.map((l) => formatTimeConversion(l, at)).join('|'), written.trimEnd())
    } finally {
      if (before === undefined) delete process.env['TZ']
      else process.env['TZ'] = before
    }
  })
