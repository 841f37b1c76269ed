/* Lines for the person who runs a program: time of day, then the text.
 *
 * Only programs log; libraries return errors. Thread: any; a line is written whole.
 */
#ifndef CLOCKWORK_OS_LOG_H
#define CLOCKWORK_OS_LOG_H

/* To standard output: what goes on. "2026-01-31 12:00:00.123 text", in local time. */
__attribute__((format(printf, 1, 2))) void log_info(const char *format, ...);

/* To standard error: what went wrong, naming what, and what would mend it. Same form. */
__attribute__((format(printf, 1, 2))) void log_warning(const char *format, ...);

/* To standard error without the time, "PROGRAM: text": a mistake in how the program was called. */
__attribute__((format(printf, 2, 3))) void log_usage_error(const char *program, const char *format,
                                                           ...);

#endif
