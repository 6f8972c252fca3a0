/** Numbers in words. */

/** A share as a percentage; never 0% or 100% for what is not exactly that. */
export function percent(share) {
  const value = Math.round(100 * share);
  if (value === 0 && share > 0) return "<1%";
  if (value === 100 && share < 1) return ">99%";
  return `${value}%`;
}

/** A probability: no network is ever certain. */
export const sure = (probability) => percent(Math.min(0.9999, Math.max(0.0001, probability)));

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

export const counted = (number, noun, plural = `${noun}s`) => `${number.toLocaleString("en")} ${number === 1 ? noun : plural}`;
