/** Kinds of values that several settings have. */
import * as z from 'zod'

export const port = () => z.number().int().min(0).max(65_535)
export const ms = () => z.number().int().positive()
export const bytes = () => z.number().int().positive()
export const file = () => z.string().min(1)
export const hostPort = () =>
  z
    .string()
    .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):\d{1,5}$/, 'must be HOST:PORT, with an IPv6 address in square brackets')
