"""Plug the methods into mmrazor as algorithms."""

from .teacher_student import TeacherStudentDistill
from .tst import TSTDistill

__all__ = ['TSTDistill', 'TeacherStudentDistill']
